package transport

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// Reasons for which a message is dropped, as the metrics name them.
const (
	dropQueueFull   = "queue_full"
	dropUnreachable = "unreachable" // no connection, or it broke while the message was on its way
	dropInvalid     = "invalid"     // may not travel, or larger than a frame
	dropStopped     = "stopped"
	dropNotMember   = "not_member"
)

// transportMetrics are the metrics of one node; GRPC and Memory share them.
type transportMetrics struct {
	frames     *prometheus.CounterVec
	bytes      *prometheus.CounterVec
	messages   *prometheus.CounterVec
	dropped    *prometheus.CounterVec
	refused    *prometheus.CounterVec
	reconnects *prometheus.CounterVec
	queueBytes *prometheus.GaugeVec
	snapshots  *prometheus.CounterVec
	forwards   *prometheus.CounterVec

	forwardFrames                   prometheus.Counter
	answered, notDelivered, unknown prometheus.Counter // of forwards
}

// newMetrics declares the metrics and registers them, if there is where.
func newMetrics(registerer prometheus.Registerer) (*transportMetrics, error) {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "kalamdb", Subsystem: "transport", Name: name, Help: help,
		}, labels)
	}
	m := &transportMetrics{
		frames:   counter("frames_total", "Raft frames sent to and received from peers.", "direction", "lane"),
		bytes:    counter("bytes_total", "Bytes of Raft frames sent and received.", "direction", "lane"),
		messages: counter("messages_total", "Raft messages sent and received.", "direction", "lane"),
		dropped:  counter("dropped_messages_total", "Raft messages not sent, by reason.", "reason"),
		refused:  counter("refused_total", "Streams, calls and frames of peers that were refused, by reason.", "reason"),
		reconnects: counter("stream_connects_total",
			"Attempts to open a Raft stream, by lane and outcome.", "lane", "outcome"),
		snapshots: counter("snapshot_bytes_total", "Bytes of snapshot chunks sent and received.", "direction"),
		forwards:  counter("forwards_total", "Proposals forwarded to a leader elsewhere, by outcome.", "outcome"),
		queueBytes: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: "kalamdb", Subsystem: "transport", Name: "queue_bytes",
			Help: "Bytes of Raft messages waiting to be sent, all peers together.",
		}, []string{"lane"}),
	}
	m.answered = m.forwards.WithLabelValues("answered")
	m.notDelivered = m.forwards.WithLabelValues("not_delivered")
	m.unknown = m.forwards.WithLabelValues("unknown")
	m.forwardFrames = prometheus.NewCounter(prometheus.CounterOpts{
		Namespace: "kalamdb", Subsystem: "transport", Name: "forward_frames_total",
		Help: "Frames in which proposals were forwarded to a leader elsewhere.",
	})
	if registerer == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{
		m.frames, m.bytes, m.messages, m.dropped, m.refused, m.reconnects, m.snapshots, m.forwards, m.queueBytes, m.forwardFrames,
	} {
		if err := registerer.Register(c); err != nil {
			return nil, fmt.Errorf("register transport metrics: %w", err)
		}
	}
	return m, nil
}

// traffic counts frames of one direction and lane.
type traffic struct {
	frames, bytes, messages prometheus.Counter
}

func (m *transportMetrics) traffic(direction string, lane Lane) traffic {
	return traffic{
		frames:   m.frames.WithLabelValues(direction, lane.String()),
		bytes:    m.bytes.WithLabelValues(direction, lane.String()),
		messages: m.messages.WithLabelValues(direction, lane.String()),
	}
}

func (t traffic) count(bytes, messages int) {
	t.frames.Inc()
	t.bytes.Add(float64(bytes))
	t.messages.Add(float64(messages))
}
