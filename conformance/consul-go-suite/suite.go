// Package suite pins Consul's own Go client and its test helpers, whose tests are run against
// the binary by `cargo xtask conformance consul-go-suite`. It has no code of its own.
package suite

import (
	_ "github.com/hashicorp/consul/api"
	_ "github.com/hashicorp/consul/api/watch"
	_ "github.com/hashicorp/consul/sdk/testutil"
)
