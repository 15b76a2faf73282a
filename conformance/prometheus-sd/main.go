// Prometheus's own Consul discovery, alone: it prints the targets of one service, one line each
// time they change (`127.0.0.1:8080 passing`, or `none`), until it is ended.
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
	"github.com/prometheus/prometheus/discovery/targetgroup"
)

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: prometheus-sd ADDRESS SERVICE")
	}
	config := consul.DefaultSDConfig
	config.Server = os.Args[1]
	config.Services = []string{os.Args[2]}
	// The least time between two looks; the looks themselves are blocking queries.
	config.RefreshInterval = model.Duration(100 * time.Millisecond)

	registry := prometheus.NewRegistry()
	metrics := config.NewDiscovererMetrics(registry, discovery.NewRefreshMetrics(registry))
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
		fmt.Println(targets(groups))
	}
}

// targets is every target with its health, sorted.
func targets(groups map[string]*targetgroup.Group) string {
	var seen []string
	for _, group := range groups {
		for _, labels := range group.Targets {
			address, health := labels[model.AddressLabel], labels["__meta_consul_health"]
			seen = append(seen, fmt.Sprintf("%s %s", address, health))
		}
	}
	if len(seen) == 0 {
		return "none"
	}
	sort.Strings(seen)
	return strings.Join(seen, ", ")
}
