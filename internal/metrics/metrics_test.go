package metrics_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/metrics"
)

func TestMetricsAreServed(t *testing.T) {
	t.Parallel()
	registry := metrics.New(metrics.Build{Version: "1.2.3", Revision: "abc"})
	registry.Counter("things_total", "Things.").Add(2)
	registry.CounterVec("parts_total", "Parts.", "kind").WithLabelValues("bolt").Inc()
	registry.CounterFunc("reads_total", "Reads.", func() float64 { return 7 })
	registry.Gauge("level", "Level.").Set(1.5)
	registry.GaugeVec("levels", "Levels.", "kind").WithLabelValues("oil").Set(3)
	registry.GaugeFunc("depth", "Depth.", func() float64 { return 9 })
	registry.Histogram("wait_seconds", "Wait.", metrics.LatencyBuckets()).Observe(0.002)
	registry.HistogramVec("body_bytes", "Body.", metrics.SizeBuckets(), "route").WithLabelValues("/").Observe(300)
	recorder := httptest.NewRecorder()
	registry.Handler().ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	body, err := io.ReadAll(recorder.Result().Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`kalamdb_build_info{go_version="go`, `revision="abc",version="1.2.3"} 1`, "kalamdb_things_total 2",
		`kalamdb_parts_total{kind="bolt"} 1`, "kalamdb_reads_total 7", "kalamdb_level 1.5", `kalamdb_levels{kind="oil"} 3`,
		"kalamdb_depth 9", `kalamdb_wait_seconds_bucket{le="0.0025"} 1`, `kalamdb_body_bytes_bucket{route="/",le="1024"} 1`,
		"go_goroutines", "process_",
	} {
		if !strings.Contains(string(body), want) {
			t.Errorf("the page lacks %q", want)
		}
	}
}

func TestRegistriesAreIndependent(t *testing.T) {
	t.Parallel()
	for range 2 {
		metrics.New(metrics.Build{}).Counter("same_total", "Same.")
	}
	defer func() {
		if recover() == nil {
			t.Error("the same name twice in one registry is accepted")
		}
	}()
	registry := metrics.New(metrics.Build{})
	registry.Counter("same_total", "Same.")
	registry.Gauge("same_total", "Same.")
}

func TestBucketsRise(t *testing.T) {
	t.Parallel()
	for _, buckets := range [][]float64{metrics.LatencyBuckets(), metrics.SizeBuckets(), metrics.CountBuckets()} {
		if !slices.IsSorted(buckets) || len(slices.Compact(slices.Clone(buckets))) != len(buckets) {
			t.Errorf("buckets %v do not rise", buckets)
		}
	}
}
