// Prometheus's own discovery by Consul's API or by Eureka's, alone: it prints the targets of one
// service, one line each time it looked (`127.0.0.1:8080 passing`, or `none`), until it is ended.
//
// Debian's Prometheus is built without Consul discovery, so the packages are used as a module,
// the way Prometheus itself uses them: configuration, metrics, discoverer, target groups.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"sort"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/discovery"
	"github.com/prometheus/prometheus/discovery/consul"
	"github.com/prometheus/prometheus/discovery/eureka"
	"github.com/prometheus/prometheus/discovery/targetgroup"
)

// The least time between two looks; Consul's are blocking queries.
const interval = model.Duration(100 * time.Millisecond)

// config is the discovery that is asked for, with the labels that say of a target which service it
// is of and how it is.
func config(kind, address, service string) (discovery.Config, model.LabelName, model.LabelName) {
	switch kind {
	case "consul":
		config := consul.DefaultSDConfig
		config.Server = address
		config.Services = []string{service}
		config.RefreshInterval = interval
		return &config, "__meta_consul_service", "__meta_consul_health"
	case "eureka":
		config := eureka.DefaultSDConfig
		config.Server = "http://" + address + "/eureka"
		config.RefreshInterval = interval
		return &config, "__meta_eureka_app_name", "__meta_eureka_app_instance_status"
	}
	log.Fatalf("there is no discovery %q", kind)
	return nil, "", ""
}

func main() {
	if len(os.Args) != 4 {
		log.Fatal("usage: prometheus-sd consul|eureka ADDRESS SERVICE")
	}
	service := os.Args[3]
	config, name, health := config(os.Args[1], os.Args[2], service)

	registry := prometheus.NewRegistry()
	refreshes := discovery.NewRefreshMetrics(registry)
	metrics := config.NewDiscovererMetrics(registry, refreshes)
	for _, own := range []interface{ Register() error }{refreshes, metrics} {
		if err := own.Register(); err != nil {
			log.Fatal(err)
		}
	}
	discoverer, err := config.NewDiscoverer(discovery.DiscovererOptions{
		Logger:  promslog.New(&promslog.Config{Writer: os.Stderr}),
		Metrics: metrics,
	})
	if err != nil {
		log.Fatal(err)
	}
	updates := make(chan []*targetgroup.Group)
	go discoverer.Run(context.Background(), updates)

	groups := map[string]*targetgroup.Group{}
	for update := range updates {
		for _, group := range update {
			groups[group.Source] = group
		}
		var seen []string
		for _, group := range groups {
			for _, labels := range group.Targets {
				labels := group.Labels.Merge(labels)
				if strings.EqualFold(string(labels[name]), service) {
					seen = append(seen, fmt.Sprintf("%s %s", labels[model.AddressLabel], labels[health]))
				}
			}
		}
		fmt.Println(told(seen))
	}
}

// told is every target with its health, sorted.
func told(seen []string) string {
	if len(seen) == 0 {
		return "none"
	}
	sort.Strings(seen)
	return strings.Join(seen, ", ")
}
