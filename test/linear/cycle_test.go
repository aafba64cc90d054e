package linear

import (
	"fmt"
	"slices"
	"sort"
	"strings"
)

// listHistory is what a history of transactions over lists says of the order in which they took effect.
type listHistory struct {
	workload string
	txns     []listTxn
	writers  map[element]int   // position of the transaction that appended an element
	order    map[int64][]int64 // the longest list that was read of a key
	took     []bool            // the transaction is known to have taken effect
	found    []anomaly
	edges    [][]edge // by node: transactions first, then the moments of their returns
}

// element is a value in the list of a key.
type element struct{ key, value int64 }

// edge says that one node comes before another one, and why.
type edge struct {
	to  int
	why string
}

// judgeLists looks for what no order of the transactions explains.
func judgeLists(workload string, txns []listTxn) []anomaly {
	h := &listHistory{
		workload: workload, txns: txns, writers: map[element]int{}, order: map[int64][]int64{}, took: make([]bool, len(txns)),
	}
	h.indexAppends()
	for i, txn := range txns {
		if txn.outcome != done {
			continue
		}
		h.took[i] = true
		for n, op := range txn.ops {
			if op.append == 0 {
				h.judgeRead(i, n)
			}
		}
	}
	h.judgeOrders()
	if len(h.found) == 0 { // otherwise there is no order to speak of
		h.connect()
		h.findCycle()
	}
	return h.found
}

func (h *listHistory) wrong(kind, format string, args ...any) {
	h.found = append(h.found, anomaly{workload: h.workload, kind: kind, text: fmt.Sprintf(format, args...)})
}

func (h *listHistory) describe(i int) string {
	txn := h.txns[i]
	return fmt.Sprintf("%v [%v]", txn.ops, txn.call)
}

func (h *listHistory) indexAppends() {
	for i, txn := range h.txns {
		for _, op := range txn.ops {
			if op.append != 0 {
				h.writers[element{op.key, op.append}] = i
			}
		}
	}
}

// judgeRead holds one read against what was appended, and remembers it when it is the longest of its key.
func (h *listHistory) judgeRead(reader, position int) {
	op := h.txns[reader].ops[position]
	seen := map[int64]bool{}
	for at, value := range op.read {
		writer, known := h.writers[element{op.key, value}]
		switch {
		case !known:
			h.wrong("phantom", "%d was never appended to %d: %s", value, op.key, h.describe(reader))
			continue
		case h.txns[writer].outcome == refused:
			h.wrong("aborted read (G1a)", "%d was appended by %s, which was refused (%s); it was read by %s",
				value, h.describe(writer), h.txns[writer].complaint, h.describe(reader))
		case seen[value]:
			h.wrong("twice", "%d is twice in what %s read", value, h.describe(reader))
		case at == len(op.read)-1 && writer != reader && h.lastAppend(writer, op.key) != value:
			h.wrong("intermediate read (G1b)", "%s read the middle of %s", h.describe(reader), h.describe(writer))
		}
		seen[value] = true
	}
	var own []int64
	for _, earlier := range h.txns[reader].ops[:position] {
		if earlier.key == op.key && earlier.append != 0 {
			own = append(own, earlier.append)
		}
	}
	if tail := op.read[max(0, len(op.read)-len(own)):]; !slices.Equal(tail, own) {
		h.wrong("own append not seen", "read %d of %s", position+1, h.describe(reader))
	}
	if len(op.read) > len(h.order[op.key]) {
		h.order[op.key] = op.read
	}
}

func (h *listHistory) lastAppend(txn int, key int64) int64 {
	last := int64(0)
	for _, op := range h.txns[txn].ops {
		if op.key == key && op.append != 0 {
			last = op.append
		}
	}
	return last
}

// judgeOrders wants each read to be the beginning of the longest one, and every acknowledged append in it: the
// history ends with reads of everything.
func (h *listHistory) judgeOrders() {
	for i, txn := range h.txns {
		for _, op := range txn.ops {
			longest := h.order[op.key]
			switch {
			case txn.outcome == done && op.append == 0 && !slices.Equal(op.read, longest[:min(len(op.read), len(longest))]):
				h.wrong("incompatible order", "%s; another read of %d was %v", h.describe(i), op.key, longest)
			case txn.outcome == done && op.append != 0 && !slices.Contains(longest, op.append):
				h.wrong("lost append", "%s; the list is %v", h.describe(i), longest)
			}
		}
	}
	for key, list := range h.order {
		for _, value := range list {
			if writer, known := h.writers[element{key, value}]; known {
				h.took[writer] = true
			}
		}
	}
}

// connect draws the graph.
func (h *listHistory) connect() {
	h.edges = make([][]edge, len(h.txns))
	for key, list := range h.order {
		for i := 1; i < len(list); i++ {
			h.add(h.writers[element{key, list[i-1]}], h.writers[element{key, list[i]}], fmt.Sprintf("ww %d", key))
		}
	}
	for reader, txn := range h.txns {
		if txn.outcome != done {
			continue
		}
		for _, op := range txn.ops {
			if op.append != 0 {
				continue
			}
			list := h.order[op.key]
			if n := len(op.read); n > 0 {
				h.add(h.writers[element{op.key, op.read[n-1]}], reader, fmt.Sprintf("wr %d", op.key))
			}
			if n := len(op.read); n < len(list) {
				h.add(reader, h.writers[element{op.key, list[n]}], fmt.Sprintf("rw %d", op.key))
			}
		}
	}
	h.connectTimes()
}

// connectTimes adds a node for the moment of each return. The moments follow each other, each transaction is before the
// moment of its return, and after the last moment before it began: few edges for "returned before the other began".
func (h *listHistory) connectTimes() {
	var returned []int
	for i, txn := range h.txns {
		if txn.outcome == done {
			returned = append(returned, i)
		}
	}
	slices.SortFunc(returned, func(a, b int) int { return int(h.txns[a].end - h.txns[b].end) })
	first := len(h.edges)
	for n, i := range returned {
		h.edges = append(h.edges, nil)
		h.add(i, first+n, "rt")
		if n > 0 {
			h.add(first+n-1, first+n, "rt")
		}
	}
	for i, txn := range h.txns {
		if !h.took[i] {
			continue
		}
		before := sort.Search(len(returned), func(n int) bool { return h.txns[returned[n]].end >= txn.begin })
		if before > 0 {
			h.add(first+before-1, i, "rt")
		}
	}
}

func (h *listHistory) add(from, to int, why string) {
	if from != to {
		h.edges[from] = append(h.edges[from], edge{to: to, why: why})
	}
}

// findCycle reports a shortest cycle through the first node that is in one.
func (h *listHistory) findCycle() {
	for _, component := range components(h.edges) {
		if len(component) < 2 {
			continue
		}
		slices.Sort(component)
		var lines []string
		for _, step := range shortestCycle(h.edges, component) {
			if step.to < len(h.txns) {
				lines = append(lines, fmt.Sprintf("--%s--> %s", step.why, h.describe(step.to)))
			} else if len(lines) == 0 || !strings.HasSuffix(lines[len(lines)-1], "returned") {
				lines = append(lines, "--rt--> returned")
			}
		}
		h.wrong("cycle", "of %d transactions; the shortest:\n%s", len(component), strings.Join(lines, "\n"))
	}
}

// shortestCycle goes through the first node of a strongly connected component.
func shortestCycle(edges [][]edge, component []int) []edge {
	inside := map[int]bool{}
	for _, node := range component {
		inside[node] = true
	}
	start := component[0]
	cameFrom := map[int]int{}
	by := map[int]edge{}
	queue := []int{start}
	for len(queue) > 0 {
		node := queue[0]
		queue = queue[1:]
		for _, e := range edges[node] {
			if !inside[e.to] {
				continue
			}
			if e.to == start {
				path := []edge{e}
				for at := node; at != start; at = cameFrom[at] {
					path = append(path, by[at])
				}
				slices.Reverse(path)
				return path
			}
			if _, seen := by[e.to]; !seen {
				cameFrom[e.to], by[e.to] = node, e
				queue = append(queue, e.to)
			}
		}
	}
	return nil
}

// components returns the strongly connected components (Tarjan, without recursion).
func components(edges [][]edge) [][]int {
	type frame struct{ node, next int }
	index, low := make([]int, len(edges)), make([]int, len(edges))
	onStack := make([]bool, len(edges))
	var stack []int
	var all [][]int
	counter := 0
	for root := range edges {
		if index[root] != 0 {
			continue
		}
		frames := []frame{{node: root}}
		for len(frames) > 0 {
			f := &frames[len(frames)-1]
			if f.next == 0 {
				counter++
				index[f.node], low[f.node] = counter, counter
				stack = append(stack, f.node)
				onStack[f.node] = true
			}
			if f.next < len(edges[f.node]) {
				to := edges[f.node][f.next].to
				f.next++
				if index[to] == 0 {
					frames = append(frames, frame{node: to})
				} else if onStack[to] {
					low[f.node] = min(low[f.node], index[to])
				}
				continue
			}
			node := f.node
			frames = frames[:len(frames)-1]
			if len(frames) > 0 {
				parent := frames[len(frames)-1].node
				low[parent] = min(low[parent], low[node])
			}
			if low[node] != index[node] {
				continue
			}
			at := slices.Index(stack, node)
			component := slices.Clone(stack[at:])
			for _, member := range component {
				onStack[member] = false
			}
			stack = stack[:at]
			all = append(all, component)
		}
	}
	return all
}
