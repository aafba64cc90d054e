package transport

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/ident"
)

// Limits bounds memory and frames. A zero field takes its default.
type Limits struct {
	// QueueMessages is how many messages wait per peer and lane; default 8192. When full, new ones are dropped.
	QueueMessages int
	// QueueBytes is how many bytes wait per peer and lane, the frame being sent included; default 64 MiB.
	// A message is let in while the queue is below it, so one message may exceed it.
	QueueBytes int
	// FrameTarget is the size at which a frame is sent, in bytes; default 1 MiB less 4 KiB. A message
	// larger than the target travels alone.
	FrameTarget int
	// FrameLimit is the largest frame, forwarded proposal or call accepted or sent, in bytes; default
	// 64 MiB. A message that does not fit is dropped.
	FrameLimit int
	// SnapshotChunk is the largest chunk of a snapshot, in bytes; default 4 MiB.
	SnapshotChunk int
}

const (
	defaultQueueMessages = 8192
	defaultQueueBytes    = 64 << 20
	defaultFrameTarget   = 1<<20 - 4096
	defaultFrameLimit    = 64 << 20
	defaultSnapshotChunk = 4 << 20
	smallestFrameLimit   = 4 << 10
	largestFrameLimit    = 1 << 30
)

// withDefaults fills the zero fields.
func (l Limits) withDefaults() Limits {
	fill := func(field *int, value int) {
		if *field == 0 {
			*field = value
		}
	}
	fill(&l.QueueMessages, defaultQueueMessages)
	fill(&l.QueueBytes, defaultQueueBytes)
	fill(&l.FrameLimit, defaultFrameLimit)
	fill(&l.FrameTarget, min(defaultFrameTarget, l.FrameLimit))
	fill(&l.SnapshotChunk, min(defaultSnapshotChunk, l.FrameLimit))
	return l
}

// validate reports the first field out of range; it runs after withDefaults.
func (l Limits) validate() error {
	switch {
	case l.QueueMessages < 1:
		return fmt.Errorf("queue messages = %d: want at least 1", l.QueueMessages)
	case l.QueueBytes < 1:
		return fmt.Errorf("queue bytes = %d: want at least 1", l.QueueBytes)
	case l.FrameLimit < smallestFrameLimit || l.FrameLimit > largestFrameLimit:
		return fmt.Errorf("frame limit = %d: want %d to %d bytes", l.FrameLimit, smallestFrameLimit, largestFrameLimit)
	case l.FrameTarget < frameHeaderSize || l.FrameTarget > l.FrameLimit:
		return fmt.Errorf("frame target = %d: want %d bytes to the frame limit %d", l.FrameTarget, frameHeaderSize, l.FrameLimit)
	case l.SnapshotChunk < 1 || l.SnapshotChunk > l.FrameLimit:
		return fmt.Errorf("snapshot chunk = %d: want 1 byte to the frame limit %d", l.SnapshotChunk, l.FrameLimit)
	}
	return nil
}

// GRPCConfig configures NewGRPC.
type GRPCConfig struct {
	// Resolver finds peers. Required.
	Resolver Resolver
	// Clock times back-off, dial timeouts and reports. Required. gRPC's own keepalive uses the machine's clock.
	Clock clock.Clock
	// Logger receives connection milestones; nil discards them.
	Logger *slog.Logger
	// Registerer takes the metrics; nil leaves them unregistered.
	Registerer prometheus.Registerer
	// TLS secures all connections; nil means plaintext, see CheckPlaintextAddress.
	TLS *TLSConfig
	// ClusterID is the configured name of the cluster; a certificate that names another is refused.
	// Only used with TLS.
	ClusterID string
	// NodeOf says which node a replica belongs to, for comparison with its certificate. Only used, and
	// then required, with TLS.RequireClientCert.
	NodeOf func(replica ident.ReplicaID) (node ident.NodeID, ok bool)
	// Limits bounds queues and frames.
	Limits Limits
	// DialTimeout bounds connecting and being accepted; default 5 s.
	DialTimeout time.Duration
	// BackoffBase is the pause after the first failed connection; default 50 ms. It doubles with every
	// further failure, up to BackoffMax (default 2 s), and each pause is drawn from its upper half.
	BackoffBase, BackoffMax time.Duration
	// ReportInterval is the least time between two HandleUnreachable for one replica; default 100 ms.
	ReportInterval time.Duration
	// KeepaliveTime is how long a silent connection is trusted before it is probed, and KeepaliveTimeout
	// how long the probe may take; defaults 10 s (the least) and 5 s.
	KeepaliveTime, KeepaliveTimeout time.Duration
	// Dial opens a connection; nil uses TCP.
	Dial func(ctx context.Context, addr string) (net.Conn, error)
}

const (
	defaultDialTimeout      = 5 * time.Second
	defaultBackoffBase      = 50 * time.Millisecond
	defaultBackoffMax       = 2 * time.Second
	defaultReportInterval   = 100 * time.Millisecond
	defaultKeepaliveTime    = 10 * time.Second
	defaultKeepaliveTimeout = 5 * time.Second
)

// withDefaults fills the zero fields and reports the first field out of range.
func (c GRPCConfig) withDefaults() (GRPCConfig, error) {
	fill := func(field *time.Duration, value time.Duration) {
		if *field == 0 {
			*field = value
		}
	}
	fill(&c.DialTimeout, defaultDialTimeout)
	fill(&c.BackoffBase, defaultBackoffBase)
	fill(&c.BackoffMax, max(defaultBackoffMax, c.BackoffBase))
	fill(&c.ReportInterval, defaultReportInterval)
	fill(&c.KeepaliveTime, defaultKeepaliveTime)
	fill(&c.KeepaliveTimeout, defaultKeepaliveTimeout)
	c.Limits = c.Limits.withDefaults()
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Dial == nil {
		c.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
			var dialer net.Dialer
			return dialer.DialContext(ctx, "tcp", addr)
		}
	}
	switch {
	case c.Resolver == nil:
		return c, errors.New("transport: resolver is missing")
	case c.Clock == nil:
		return c, errors.New("transport: clock is missing")
	case c.DialTimeout < 0 || c.BackoffBase < 0 || c.BackoffMax < c.BackoffBase || c.ReportInterval < 0:
		return c, errors.New("transport: a timeout or pause is negative, or the longest pause is below the first")
	case c.TLS != nil && c.TLS.RequireClientCert && c.NodeOf == nil:
		return c, errors.New("transport: client certificates are required but the node of a replica cannot be looked up")
	}
	if err := c.Limits.validate(); err != nil {
		return c, fmt.Errorf("transport: %w", err)
	}
	return c, nil
}
