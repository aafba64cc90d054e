package multiraft

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// engineMetrics are the distributions that the engine records as it works. Numbers that can be read at any
// time (indexes, terms, sizes) are collected by their reader instead.
type engineMetrics struct {
	propose   map[shard.Class]prometheus.Observer // seconds from Propose to its result, by class of group
	appendLog prometheus.Observer                 // seconds of one write of the log, its sync included
	batch     prometheus.Histogram                // groups in one write of the log
	applied   prometheus.Histogram                // entries in one batch of the store
	asleep    prometheus.Gauge                    // replicas that do not tick
	nonsense  atomic.Uint64                       // messages, snapshots and forwarded commands that no sound peer sends

	proposeTotal, appendTotal meterTotal // of the like-named ones
}

// newEngineMetrics makes the metrics and registers them, where there is a registerer.
func newEngineMetrics(registerer prometheus.Registerer) (*engineMetrics, error) {
	seconds := prometheus.ExponentialBuckets(50e-6, 2, 18) // 50 us to 6.5 s
	counts := prometheus.ExponentialBuckets(1, 2, 14)
	propose := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: "kalamdb", Name: "propose_seconds",
		Help: "Time from a proposal at the leader to its result, in seconds.", Buckets: seconds,
	}, []string{"class"})
	appendLog := prometheus.NewHistogram(prometheus.HistogramOpts{
		Namespace: "kalamdb", Name: "log_append_seconds", Help: "Time of one write of the log with its sync, in seconds.",
		Buckets: seconds,
	})
	m := &engineMetrics{
		propose: make(map[shard.Class]prometheus.Observer),
		batch: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "kalamdb", Name: "log_batch_groups", Help: "Groups in one write of the log.", Buckets: counts,
		}),
		asleep: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: "kalamdb", Name: "groups_asleep", Help: "Replicas of idle groups on this node that neither tick nor beat.",
		}),
		applied: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "kalamdb", Name: "apply_batch_entries", Help: "Log entries in one batch of the store.", Buckets: counts,
		}),
	}
	for _, class := range []shard.Class{shard.ClassMeta, shard.ClassUser, shard.ClassShared} {
		m.propose[class] = meter{propose.WithLabelValues(class.String()), &m.proposeTotal}
	}
	m.appendLog = meter{appendLog, &m.appendTotal}
	if registerer == nil {
		return m, nil
	}
	refused := prometheus.NewCounterFunc(prometheus.CounterOpts{
		Namespace: "kalamdb", Name: "refused_messages_total",
		Help: "Raft messages, snapshots and forwarded commands of peers that no sound replica sends.",
	}, func() float64 { return float64(m.nonsense.Load()) })
	for _, collector := range []prometheus.Collector{propose, appendLog, m.batch, m.applied, m.asleep, refused} {
		if err := registerer.Register(collector); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return m, nil
}

// seconds is the time since a moment by the engine's clock.
func (m *Manager) seconds(since time.Time) float64 { return m.cfg.Clock.Now().Sub(since).Seconds() }
