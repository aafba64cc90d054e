package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// A goal is a figure to reach, and how it is made of what the benchmarks print.
type goal struct {
	name  string
	least bool // the figure must be this or more; otherwise this or less
	bound float64
	unit  string
	value func(figures) (float64, bool)
}

// figures are the numbers of one round, by the case they belong to and their name, as "insert_kept/value".
type figures map[string]float64

// goals are the figures to reach, as the page lists them.
var goals = []goal{
	{"counter, 16 clients, 128 B", false, 10, "CPU-s/100k", the("count/16/128/cpu_s_per_100k")},
	{"counter, 256 clients, 128 B", false, 1.4, "CPU-s/100k", the("count/256/128/cpu_s_per_100k")},
	{"counter, 1024 clients, 128 B", false, 0.7, "CPU-s/100k", the("count/1024/128/cpu_s_per_100k")},
	{"counter, 1024 clients, 1 KiB", false, 1.3, "CPU-s/100k", the("count/1024/1024/cpu_s_per_100k")},
	{"store, 1024 clients, 128 B", false, 2, "CPU-s/100k", the("store/1024/128/cpu_s_per_100k")},
	{"store, 1024 clients, 1 KiB", false, 7, "CPU-s/100k", the("store/1024/1024/cpu_s_per_100k")},
	{"idle, 34 groups", false, 0.6, "% of a core", the("idle/34/cpu_percent_per_node")},
	{"memory of an idle group, 2,000 of them", false, 300, "KiB", per("idle/2000/rss_mib_per_node", 2000.0/1024)},
	{"a leader is killed, of the largest election timeout", false, 1.5, "times", ratio("crash/worst_unavailable_ms", "crash/election_timeout_max_ms")},
	{"acknowledged and lost, all kinds of failure", false, 0, "writes", sum("crash/lost", "pause/lost", "partition/lost", "transfer/lost")},
	{"planned transfer", false, 50, "ms", the("transfer/worst_unavailable_ms")},
	{"restart with 1 GiB of log", false, 10, "s", the("restart/ready_s")},

	{"point read, engine", false, 10, "us", the("point_read_engine/p50_us")},
	{"point read, engine", false, 40, "allocations", the("point_read_engine/allocs_per_op")},
	{"filter of 1,000 rows, top 20", false, 120, "us", the("filter_top20_engine/p50_us")},
	{"aggregate of 100k rows", false, 10, "ms", per("aggregate_100k_engine/p50_us", 1000)},
	{"hash join 100k x 1k", false, 20, "ms", per("hash_join_100k_engine/p50_us", 1000)},
	{"INSERT over HTTP, 1 client", false, 0.6, "ms", per("insert_http_1_client/p50_us", 1000)},
	{"INSERT over HTTP, 256 clients, three nodes", true, 20000, "rows/s", the("insert_http_256_clients_3_nodes/ops_per_s")},
	{"point SELECT over HTTP, 64 clients", true, 25000, "/s", the("point_select_http_64_clients/ops_per_s")},

	{"idle connection, of 10k", false, 8, "KB", per("idle_connections/value", 1000)},
	{"100k subscriptions set up", false, 5, "s", the("subscribe/value")},
	{"heap of a subscription, of 100k", false, 1.2, "KB", per("subscription_heap/value", 1000)},
	{"fan-out 1 to 1,000", true, 1e6, "/s", the("fan_out/value")},
	{"fan-out 1 to 1,000", false, 1.5, "CPU-us", the("fan_out/cpu_us_per_frame")},
	{"change ready to client, p50", false, 130, "us", the("change_ready_1000_per_s_to_10/p50_us")},
	{"change ready to client, p99", false, 440, "us", the("change_ready_1000_per_s_to_10/p99_us")},
	{"INSERT to event, 1 match, p50", false, 0.9, "ms", per("event_100_per_s_to_1/p50_us", 1000)},
	{"INSERT to event, 100 matches, p50", false, 1.6, "ms", per("event_100_per_s_to_100/p50_us", 1000)},
	{"INSERT kept with 1,000 filtered subscriptions", true, 80, "%", the("insert_kept/value")},
	{"INSERT with 1,000 matching subscriptions", true, 500, "/s", the("insert_all_match/value")},
	{"matching, 10 hits among 100k", false, 1, "us", per("BenchmarkFind/100000/ns_per_op", 1000)},
	{"matching, 100k beside 1k", false, 3, "times", ratio("BenchmarkFind/100000/ns_per_op", "BenchmarkFind/1000/ns_per_op")},
	{"`SELECT 1` over HTTP, 64 clients", true, 37000, "/s", the("select_1_of_64_clients/value")},
	{"`SELECT 1` over HTTP, 1 client, p50", false, 90, "us", the("select_1_of_1_clients/p50_us")},
	{"INSERT to event on a follower, p99", false, 10, "ms", per("follower/p99_us", 1000)},

	{"flush of 8 columns", true, 400000, "rows/s", the("flush_8_columns/rows_per_s")},
	{"aggregate of 1M cold rows", false, 40, "ms", per("aggregate_2_columns/p50_us", 1000)},
	{"the same with nothing in the cache", false, 40, "ms", per("aggregate_2_columns/first_us", 1000)},
	{"point read in 1M cold rows", false, 3, "ms", per("point_read/p50_us", 1000)},
	{"filter and limit, 20 segments", false, 15, "ms", per("filter_limit_20_segments/p50_us", 1000)},
	{"hot write p99 during a flush, of that without", false, 1.5, "times", the("hot_write_during_flush/p99_ratio")},
}

func the(name string) func(figures) (float64, bool) { return per(name, 1) }

func per(name string, unit float64) func(figures) (float64, bool) {
	return func(f figures) (float64, bool) {
		value, found := f[name]
		return value / unit, found
	}
}

func ratio(name, of string) func(figures) (float64, bool) {
	return func(f figures) (float64, bool) {
		value, found := f[name]
		base, known := f[of]
		return value / base, found && known && base != 0
	}
}

func sum(names ...string) func(figures) (float64, bool) {
	return func(f figures) (float64, bool) {
		total := 0.0
		for _, name := range names {
			value, found := f[name]
			if !found {
				return 0, false
			}
			total += value
		}
		return total, true
	}
}

// read takes the figures out of what a benchmark printed: JSON objects, or lines of Go's benchmarks.
func (f figures) read(printed []byte) {
	lines := bufio.NewScanner(bytes.NewReader(printed))
	for lines.Scan() {
		var object map[string]any
		if json.Unmarshal(lines.Bytes(), &object) == nil {
			f.take(object)
			continue
		}
		// BenchmarkFind/1000-2   22222   53.1 ns/op   0 B/op
		if words := strings.Fields(lines.Text()); len(words) >= 4 && strings.HasPrefix(words[0], "Benchmark") && words[3] == "ns/op" {
			name, _, _ := strings.Cut(words[0], "-")
			if value, err := strconv.ParseFloat(words[2], 64); err == nil {
				f[name+"/ns_per_op"] = value
			}
		}
	}
}

// take names the numbers of an object by what tells it from the others of all benchmarks.
func (f figures) take(object map[string]any) {
	var name string
	switch {
	case object["apply"] != nil:
		name = fmt.Sprint(object["apply"], "/", object["clients"], "/", object["payload_bytes"])
	case object["case"] != nil:
		name = fmt.Sprint(object["case"])
	case object["kind"] != nil:
		name = fmt.Sprint(object["kind"])
	case object["cpu_percent_per_node"] != nil:
		name = fmt.Sprint("idle/", object["groups"])
	default:
		name = "restart"
	}
	for _, key := range slices.Sorted(maps.Keys(object)) {
		if value, is := object[key].(float64); is {
			f[name+"/"+key] = value
		}
	}
}

// table lists the goals beside what the rounds measured; a goal that no benchmark printed a figure for is named as such.
func table(goals []goal, measured []figures) string {
	var out strings.Builder
	out.WriteString("| Figure | To reach | Median | Rounds | Reached |\n|---|---|---|---|---|\n")
	for _, g := range goals {
		var values []float64
		var rounds []string
		for _, f := range measured {
			if value, found := g.value(f); found {
				values = append(values, value)
				rounds = append(rounds, short(value))
			}
		}
		relation := "<="
		if g.least {
			relation = ">="
		}
		fmt.Fprintf(&out, "| %s | %s %s %s |", g.name, relation, short(g.bound), g.unit)
		if len(values) == 0 {
			out.WriteString(" not printed | | no |\n")
			continue
		}
		slices.Sort(values)
		median := (values[(len(values)-1)/2] + values[len(values)/2]) / 2
		reached := "yes"
		if g.least && median < g.bound || !g.least && median > g.bound {
			reached = "no"
		}
		fmt.Fprintf(&out, " %s | %s | %s |\n", short(median), strings.Join(rounds, ", "), reached)
	}
	return out.String()
}

// short writes a number with three digits, as many as such a measurement has.
func short(value float64) string {
	if value >= 1000 {
		return strconv.FormatFloat(value, 'f', 0, 64)
	}
	return strconv.FormatFloat(value, 'g', 3, 64)
}
