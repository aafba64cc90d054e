// Package metrics is the door to Prometheus: one Registry per node, handed to each part that counts
// something.
//
// There is no global registry. Every metric is declared, with its help text, in the package that owns it,
// by one of Registry's methods; its name gets the prefix kalamdb_. Declaring the same name twice is a
// mistake of the program and panics at start. Labels must come from small fixed sets: never a user, a
// table or an address.
package metrics

import (
	"net/http"
	"regexp"
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

const namespace = "kalamdb"

// Registry collects the metrics of one node. Several may exist in one process.
type Registry struct {
	registry *prometheus.Registry
}

// Build says which program is running.
type Build struct {
	Version  string
	Revision string // source revision, "" when unknown
}

// New makes a registry with the metrics of the process, the Go runtime and the build.
func New(build Build) *Registry {
	r := &Registry{registry: prometheus.NewRegistry()}
	r.registry.MustRegister(
		collectors.NewGoCollector(collectors.WithGoCollectorRuntimeMetrics(
			collectors.GoRuntimeMetricsRule{Matcher: regexp.MustCompile("^/gc/heap/live:bytes$")}, // what is in use, without garbage
		)),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	info := r.GaugeVec("build_info", "Always 1; the labels say what is running.", "version", "revision", "go_version")
	info.WithLabelValues(build.Version, build.Revision, runtime.Version()).Set(1)
	return r
}

// Handler serves the metrics in the formats of Prometheus.
func (r *Registry) Handler() http.Handler {
	return promhttp.HandlerFor(r.registry, promhttp.HandlerOpts{MaxRequestsInFlight: maxScrapes})
}

// maxScrapes bounds the scrapes under way; more get 503.
const maxScrapes = 4

// Registerer is for packages that declare their metrics themselves; they add the prefix kalamdb_.
func (r *Registry) Registerer() prometheus.Registerer { return r.registry }

// Gatherer returns all metrics, for tests and the stats view.
func (r *Registry) Gatherer() prometheus.Gatherer { return r.registry }

// Register adds a collector that its package built itself.
func (r *Registry) Register(collector prometheus.Collector) { r.registry.MustRegister(collector) }

// Counter declares a number that only grows.
func (r *Registry) Counter(name, help string) prometheus.Counter {
	counter := prometheus.NewCounter(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help})
	r.registry.MustRegister(counter)
	return counter
}

// CounterVec declares a family of counters.
func (r *Registry) CounterVec(name, help string, labels ...string) *prometheus.CounterVec {
	family := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)
	r.registry.MustRegister(family)
	return family
}

// CounterFunc declares a counter that is read when it is scraped. read must be fast and safe for
// concurrent use.
func (r *Registry) CounterFunc(name, help string, read func() float64) {
	r.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, read))
}

// Gauge declares a number that goes up and down.
func (r *Registry) Gauge(name, help string) prometheus.Gauge {
	gauge := prometheus.NewGauge(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help})
	r.registry.MustRegister(gauge)
	return gauge
}

// GaugeVec declares a family of gauges.
func (r *Registry) GaugeVec(name, help string, labels ...string) *prometheus.GaugeVec {
	family := prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help}, labels)
	r.registry.MustRegister(family)
	return family
}

// GaugeFunc declares a gauge that is read when it is scraped. read must be fast and safe for concurrent
// use.
func (r *Registry) GaugeFunc(name, help string, read func() float64) {
	r.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help}, read))
}

// Histogram declares a distribution; buckets are upper bounds in rising order, such as LatencyBuckets.
func (r *Registry) Histogram(name, help string, buckets []float64) prometheus.Histogram {
	histogram := prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: namespace, Name: name, Help: help, Buckets: buckets})
	r.registry.MustRegister(histogram)
	return histogram
}

// HistogramVec declares a family of distributions.
func (r *Registry) HistogramVec(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	family := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: namespace, Name: name, Help: help, Buckets: buckets,
	}, labels)
	r.registry.MustRegister(family)
	return family
}

// LatencyBuckets are bounds for durations in seconds, from 100 us to 30 s, about a factor of two apart.
func LatencyBuckets() []float64 {
	return []float64{
		0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30,
	}
}

// SizeBuckets are bounds for sizes in bytes, from 256 B to 64 MiB, a factor of four apart.
func SizeBuckets() []float64 { return prometheus.ExponentialBuckets(256, 4, 10) }

// CountBuckets are bounds for small counts, such as the entries of a batch, from 1 to 4096.
func CountBuckets() []float64 { return prometheus.ExponentialBuckets(1, 2, 13) }
