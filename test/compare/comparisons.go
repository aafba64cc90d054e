package main

import "strconv"

// comparison is what is measured in turn, for goals that are ratios.
type comparison struct {
	name    string
	about   string   // above its table
	systems []system // that of kalamdb first
	starts  []start
	shown   []column
	judged  []column
}

// system is one of those that are measured in turn.
type system struct {
	name  string
	other bool // the program is that of kalamdb, and this one where it is not
	args  []string
	wants []func(clients int) float64 // how much better ours is to be in what is judged, in its order; zero is no goal
}

// start is what is measured between starting three processes and ending them: cases, one for each number of clients. Without clients it has one case.
type start struct {
	clients []int
	payload int
}

// column is a figure of a case.
type column struct {
	name, head, format string
	of                 func(line) float64
	more               bool // is better
}

var (
	opsPerS     = column{name: "ops/s", head: "ops/s", format: "%.0f", of: func(l line) float64 { return l.OpsPerS }, more: true}
	p50Millis   = column{name: "p50", head: "p50 ms", format: "%.2f", of: func(l line) float64 { return l.P50Millis }}
	p99Millis   = column{name: "p99", head: "p99 ms", format: "%.2f", of: func(l line) float64 { return l.P99Millis }}
	nodesCPU    = column{name: "CPU", head: "CPU-s/100k", format: "%.3g", of: func(l line) float64 { return l.CPUPer100k }}
	clientsCPU  = column{name: "clients' CPU", head: "clients' CPU-s/100k", format: "%.3g", of: func(l line) float64 { return l.ClientCPUPer100k }}
	idleCPU     = column{name: "CPU", head: "% of a core per node", format: "%.2f", of: func(l line) float64 { return l.CPUPercent }}
	memoryOfAll = column{name: "memory", head: "MiB per node", format: "%.0f", of: func(l line) float64 { return l.RSSMiBPerNode }}
)

// at wants the same under every load.
func at(want float64) func(int) float64 { return func(int) float64 { return want } }

var comparisons = []comparison{
	{
		name:  "dragonboat",
		about: "34 groups led evenly, clients in the processes that lead, counting",
		systems: []system{
			{name: "kalamdb", args: []string{"bench", "raft", "--json"}},
			{name: "dragonboat, 1 worker", args: []string{"dragonboat", "--workers", "1"}, other: true, wants: []func(int) float64{at(2), at(2)}},
			{name: "dragonboat, 16 workers", args: []string{"dragonboat", "--workers", "16"}, other: true, wants: []func(int) float64{at(4), at(0)}},
		},
		// Every case has a start of its own: what dragonboat owes its store after one would be paid in the next.
		starts: []start{{[]int{16}, 128}, {[]int{256}, 128}, {[]int{1024}, 128}, {[]int{1024}, 1024}},
		shown:  []column{opsPerS, p50Millis, p99Millis, nodesCPU},
		judged: []column{nodesCPU, p50Millis},
	},
	{
		name:  "etcd",
		about: "puts through gRPC from a process of its own, a call for each, stored",
		systems: []system{
			{name: "kalamdb", args: []string{"kalamdb", "--program", programOfKalamDB, "--duration", shortCase}, other: true},
			{name: "etcd", args: []string{"etcd", "--duration", shortCase}, other: true, wants: []func(int) float64{wantedOfEtcd, at(0), at(0)}},
		},
		starts: []start{{[]int{1, 16, 256, 1024}, 128}},
		shown:  []column{opsPerS, p50Millis, p99Millis, nodesCPU, clientsCPU},
		judged: []column{opsPerS, p50Millis, nodesCPU},
	},
	{
		name:  "streams",
		about: "puts through gRPC from a process of its own: of kalamdb, those that wait travel together; of etcd, a call for each",
		systems: []system{
			{name: "kalamdb", args: []string{"kalamdb", "--program", programOfKalamDB, "--streams", "--duration", shortCase}, other: true},
			{name: "etcd", args: []string{"etcd", "--duration", shortCase}, other: true, wants: []func(int) float64{wantedOfEtcd, at(0), at(0)}},
		},
		starts: []start{{[]int{1, 256, 1024}, 128}},
		shown:  []column{opsPerS, p50Millis, p99Millis, nodesCPU, clientsCPU},
		judged: []column{opsPerS, p50Millis, nodesCPU},
	},
	{
		name:  "hashicorp",
		about: "one group, clients in the process that leads, counting",
		systems: []system{
			{name: "kalamdb", args: []string{"bench", "raft", "--json", "--groups", "1", "--leaders", "one", "--duration", shortCase}},
			{name: "hashicorp/raft", args: []string{"hashicorp", "--duration", shortCase}, other: true, wants: []func(int) float64{at(1), at(1)}},
		},
		starts: []start{{[]int{1, 16, 256, 1024}, 128}, {[]int{1, 16, 256, 1024}, 1024}},
		shown:  []column{opsPerS, p50Millis, p99Millis, nodesCPU},
		judged: []column{nodesCPU, p50Millis},
	},
	{
		name:  "idle",
		about: "no clients: kalamdb with 34 groups, etcd with one",
		systems: []system{
			{name: "kalamdb", args: []string{"bench", "idle", "--json", "--duration", shortIdle}},
			{name: "etcd", args: []string{"etcd", "--idle", "--duration", shortIdle}, other: true, wants: []func(int) float64{at(1)}},
		},
		starts: []start{{}},
		shown:  []column{idleCPU, memoryOfAll},
		judged: []column{idleCPU},
	},
}

// They keep all comparisons within ten minutes.
const (
	shortIdle = "6s"
	shortCase = "1s"
)

// programOfKalamDB stands for bin/kalamdb among the arguments.
const programOfKalamDB = "{kalamdb}"

// wantedOfEtcd is twice its throughput with many clients, and as much with one.
func wantedOfEtcd(clients int) float64 {
	switch {
	case clients >= 256:
		return 2
	case clients == 1:
		return 1
	}
	return 0
}

// cases are those of all starts, in their order.
func (c comparison) cases() []trial {
	var all []trial
	for _, r := range c.starts {
		all = append(all, r.cases()...)
	}
	return all
}

// trial is a case of a start.
type trial struct{ clients, payload int }

func (l trial) String() string {
	if l.clients == 0 {
		return "none"
	}
	return strconv.Itoa(l.clients) + ", " + strconv.Itoa(l.payload)
}

func (r start) cases() []trial {
	if len(r.clients) == 0 {
		return []trial{{}}
	}
	var all []trial
	for _, clients := range r.clients {
		all = append(all, trial{clients, r.payload})
	}
	return all
}
