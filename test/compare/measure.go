package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"syscall"
	"time"
)

// line is what all systems print for a case; each prints more, or less.
type line struct {
	System        string  `json:"system"`
	Workers       uint64  `json:"workers,omitempty"`
	AppendEntries int     `json:"append_entries,omitempty"`
	Connections   int     `json:"connections,omitempty"`
	Streams       bool    `json:"streams,omitempty"`
	GCPercent     int     `json:"gc_percent,omitempty"`
	Groups        uint64  `json:"groups"`
	Nodes         int     `json:"nodes"`
	Clients       int     `json:"clients,omitempty"`
	PayloadBytes  int     `json:"payload_bytes,omitempty"`
	Apply         string  `json:"apply,omitempty"`
	OpsPerS       float64 `json:"ops_per_s,omitempty"`
	P50Millis     float64 `json:"p50_ms,omitempty"`
	P99Millis     float64 `json:"p99_ms,omitempty"`
	CPUPer100k    float64 `json:"cpu_s_per_100k,omitempty"` // of the nodes
	// ClientCPUPer100k is that of the process of the clients, where they have one.
	ClientCPUPer100k float64 `json:"client_cpu_s_per_100k,omitempty"`
	CPUPercent       float64 `json:"cpu_percent_per_node,omitempty"` // without clients
	RSSMiBPerNode    float64 `json:"rss_mib_per_node"`
	// Unknown counts proposals that were dropped or not answered in time; they are in no other number.
	Unknown int `json:"unknown,omitempty"`
}

// measure starts a cluster and prints one JSON object for each case.
func measure(ctx context.Context, o options, out io.Writer) error {
	c, err := startCluster(ctx, o)
	if err != nil {
		return err
	}
	defer c.stop()
	if o.Idle {
		// The first rest lets what starting left behind come to an end, as that of `kalamdb bench idle` does.
		if _, err := c.rest(idleBefore, false); err != nil {
			return err
		}
		results, err := c.rest(o.Duration, false)
		if err != nil {
			return err
		}
		return printJSON(out, summariseIdle(o, results))
	}
	for _, clients := range o.Clients {
		// A short round warms up, as that of `kalamdb bench raft` does.
		if _, err := c.load(clients, o.Payload, o.Duration/4); err != nil {
			return err
		}
		results, err := c.load(clients, o.Payload, o.Duration)
		if err != nil {
			return err
		}
		if err := printJSON(out, summarise(o, clients, results)); err != nil {
			return err
		}
	}
	return nil
}

const idleBefore = 6 * time.Second

// Bounds of what a case takes of the disk: files of the size of a store's buffer, and what may be written beside them.
const (
	spareRoom    = 4 << 30
	filesOfStore = 8
	inMemory     = 0x01021994 // the type of tmpfs
)

// checkRoom refuses a file system in memory, and a disk that the logs might fill: dragonboat panics there, and others may need the disk. A store keeps up
// to filesOfStore files.
func checkRoom(dir string, o options) error {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil {
		return fmt.Errorf("ask for the room in %s: %w", dir, err)
	}
	if fs.Type == inMemory {
		return fmt.Errorf("%s is in memory, where a sync costs nothing; TMPDIR names another place", dir)
	}
	wanted := uint64(spareRoom)
	if o.Engine == "dragonboat" {
		logs := logStores(o.Workers)
		wanted += filesOfStore * nodes * logs.Shards * logs.KVWriteBufferSize
	}
	if free := fs.Bavail * uint64(fs.Bsize); free < wanted { //nolint:gosec // no disk has blocks of a negative size
		return fmt.Errorf("%s has room for %d MiB: want %d; TMPDIR names another place", dir, free>>20, wanted>>20)
	}
	return nil
}

// about is what a line says of what was asked for.
func about(o options) line {
	l := line{System: o.Engine, GCPercent: o.GCPercent, Groups: engines[o.Engine].groups, Nodes: nodes, Apply: "count"}
	switch o.Engine {
	case "dragonboat":
		l.Workers = o.Workers
	case "hashicorp":
		l.AppendEntries = o.AppendEntries
	default:
		l.Apply, l.Connections, l.Streams = "store", o.Connections, o.Streams
	}
	return l
}

func summariseIdle(o options, results []roundResult) line {
	one := about(o)
	for _, r := range results {
		one.CPUPercent += 100 * r.CPU.Seconds() / r.Seconds / nodes
		one.RSSMiBPerNode += float64(r.RSSBytes) / (1 << 20) / nodes
	}
	one.CPUPercent, one.RSSMiBPerNode = round(one.CPUPercent), round(one.RSSMiBPerNode)
	return one
}

func summarise(o options, clients int, results []roundResult) line {
	one := about(o)
	one.Clients, one.PayloadBytes = clients, o.Payload
	var all []time.Duration
	var ofNodes, ofClients time.Duration
	for i, r := range results {
		all = append(all, r.Latencies...)
		one.OpsPerS += float64(r.Ops) / r.Seconds
		one.Unknown += r.Unknown
		if i >= nodes {
			ofClients += r.CPU
			continue
		}
		ofNodes += r.CPU
		one.RSSMiBPerNode += float64(r.RSSBytes) / (1 << 20) / nodes
	}
	slices.Sort(all)
	one.P50Millis, one.P99Millis = quantile(all, 0.5), quantile(all, 0.99)
	one.OpsPerS, one.RSSMiBPerNode = round(one.OpsPerS), round(one.RSSMiBPerNode)
	if len(all) > 0 {
		one.CPUPer100k = round(ofNodes.Seconds() / float64(len(all)) * 100_000)
		one.ClientCPUPer100k = round(ofClients.Seconds() / float64(len(all)) * 100_000)
	}
	return one
}

// quantile returns the q-quantile of sorted samples in milliseconds.
func quantile(sorted []time.Duration, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return float64(sorted[min(int(q*float64(len(sorted))), len(sorted)-1)].Microseconds()) / 1000
}

// round keeps three decimals.
func round(v float64) float64 { return float64(int64(v*1000+0.5)) / 1000 }
