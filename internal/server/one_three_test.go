package server

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestOneNodeEqualsThree runs the same drawn statements on a node alone and on three nodes, a different one each time: the answers
// are the same to the letter, those that fail included, and so is what the tables hold in the end.
func TestOneNodeEqualsThree(t *testing.T) {
	t.Parallel()
	alone := openNode(t, testConfig(t.TempDir()), Options{})
	nodes := openCluster(t)
	waitReady(t, append(nodes, alone)...)
	one := login(t, alone, "root", rootPassword)
	var three []client
	for _, n := range nodes {
		three = append(three, login(t, n, "root", rootPassword))
	}
	twinTables(one)
	twinTables(three[0])
	seed := rand.Uint64()
	s := statements{rand.New(rand.NewPCG(seed, 2))}
	failed := 0
	compare := func(sql string) {
		t.Helper()
		got, fine := plainAnswer(t, three[s.random.IntN(len(three))], sql)
		want, _ := plainAnswer(t, one, sql)
		if !fine {
			failed++
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("seed %d: %s\none node (-) and three (+):\n%s", seed, sql, diff)
		}
	}
	const drawn = 350
	for range drawn {
		if s.random.IntN(3) > 0 {
			compare(s.write())
		} else {
			compare(s.read())
		}
	}
	for _, table := range []string{"app.pub", "app.own"} {
		compare("SELECT id, n, t, d, _deleted FROM " + table + " ORDER BY id")
		compare("SELECT id, n, t, _deleted FROM " + s.keep(table) + " ORDER BY id")
	}
	compare("SELECT id, tags FROM app.list ORDER BY id")
	if failed < drawn/50 || failed > drawn/2 {
		t.Errorf("seed %d: %d of %d statements failed: they try too little", seed, failed, drawn)
	}
}

// plainAnswer is an answer without what differs from run to run: its duration, and the ids of transactions.
func plainAnswer(t *testing.T, c client, sql string) (answer map[string]any, fine bool) {
	t.Helper()
	status, body := c.post("/v1/api/sql", map[string]any{"sql": sql})
	if err := json.Unmarshal(body, &answer); err != nil {
		t.Fatalf("%s: %d %s: %v", sql, status, body, err)
	}
	delete(answer, "took")
	answer["http"] = status
	results, _ := answer["results"].([]any)
	for _, result := range results {
		if r, ok := result.(map[string]any); ok {
			if message, ok := r["message"].(string); ok && strings.HasPrefix(message, "Transaction ") {
				r["message"], _, _ = strings.Cut(message, " (")
			}
		}
	}
	return answer, status == http.StatusOK
}

// TestStatementsAreSerializableOnThreeNodes: single statements that decide by what others insert meanwhile, sent through three nodes
// at once. Whatever order they took effect in, it is one: no seat is given that the count forbade, and no row is claimed twice or by
// nobody who said so.
func TestStatementsAreSerializableOnThreeNodes(t *testing.T) {
	t.Parallel()
	nodes := openCluster(t)
	waitReady(t, nodes...)
	root := login(t, nodes[0], "root", rootPassword)
	root.sql("CREATE NAMESPACE app")
	root.sql("CREATE SHARED TABLE app.seats (id INT PRIMARY KEY, who INT)")
	root.sql("CREATE SHARED TABLE app.queue (id INT PRIMARY KEY, worker INT)")
	const workers, rounds, seats = 6, 8, 10
	var (
		group   sync.WaitGroup
		mu      sync.Mutex // guards claimed
		claimed = map[int]int{}
	)
	for w := range workers {
		c := login(t, nodes[w%len(nodes)], "root", rootPassword)
		group.Go(func() {
			for i := range rounds {
				number := w*rounds + i
				persist(t, c, fmt.Sprintf("INSERT INTO app.seats SELECT %d, %d WHERE (SELECT count(*) FROM app.seats) < %d", number, w, seats))
				persist(t, c, fmt.Sprintf("INSERT INTO app.queue VALUES (%d, NULL)", number))
				count := persist(t, c, fmt.Sprintf("UPDATE app.queue SET worker = %d WHERE worker IS NULL", w+1))
				mu.Lock()
				claimed[w+1] += count
				mu.Unlock()
			}
		})
	}
	group.Wait()
	if got := root.grid("SELECT count(*) FROM app.seats"); got != strconv.Itoa(seats) {
		t.Errorf("%s seats were given of %d", got, seats)
	}
	var want []string
	for w := range workers {
		if claimed[w+1] > 0 {
			want = append(want, fmt.Sprintf("%d|%d", w+1, claimed[w+1]))
		}
	}
	if got := root.grid("SELECT worker, count(*) FROM app.queue GROUP BY worker ORDER BY worker"); got != strings.Join(want, "\n") {
		t.Errorf("claimed rows:\n%s\nwant, as the answers said,\n%s", got, strings.Join(want, "\n"))
	}
}

// persist sends a statement until it is no conflict any more, and returns how many rows it changed.
func persist(t *testing.T, c client, sql string) int {
	t.Helper()
	for {
		status, body := c.post("/v1/api/sql", map[string]any{"sql": sql})
		if status == http.StatusConflict {
			continue
		}
		var a struct {
			Results []struct {
				Count int `json:"row_count"`
			} `json:"results"`
		}
		if err := json.Unmarshal(body, &a); err != nil || status != http.StatusOK {
			t.Errorf("%s: %d %s", sql, status, body)
			return 0
		}
		if len(a.Results) == 0 {
			return 0
		}
		return a.Results[0].Count
	}
}
