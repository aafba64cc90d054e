package live

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/kalamdb/kalamdb-go/internal/changefeed"
	"github.com/kalamdb/kalamdb-go/internal/changelog"
	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// TestScripts runs the stories in testdata. A _seq is printed as index.ordinal.
func TestScripts(t *testing.T) {
	t.Parallel()
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		t.Helper()
		s := &script{lab: newLab(t, changefeed.Config{}), subs: make(map[string]*Subscription), sink: &tape{}}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			t.Helper()
			return withSeqs(s.run(t, d))
		})
	})
}

type script struct {
	*lab
	subs map[string]*Subscription
	sink *tape
}

// withSeqs prints log positions readably.
func withSeqs(text string) string {
	var out strings.Builder
	for {
		before, rest, found := strings.Cut(text, `"_seq":"`)
		out.WriteString(before)
		if !found {
			return out.String()
		}
		digits, after, _ := strings.Cut(rest, `"`)
		seq, err := strconv.ParseUint(digits, 10, 64)
		if err != nil {
			return err.Error()
		}
		out.WriteString(`"_seq":` + position(seq))
		text = after
	}
}

func position(seq uint64) string {
	return fmt.Sprintf("%d.%d", command.SeqIndex(seq), seq&command.MaxOrdinal)
}

func (s *script) run(t *testing.T, d *datadriven.TestData) string {
	t.Helper()
	user := "admin"
	d.MaybeScanArgs(t, "user", &user)
	switch d.Cmd {
	case "sql":
		for line := range strings.Lines(d.Input) {
			s.sql(user, line)
		}
		s.settle()
	case "subscribe":
		return s.subscribe(t, d, user)
	case "next":
		return s.batch(s.subs[d.CmdArgs[0].Key])
	case "close":
		s.subs[d.CmdArgs[0].Key].Close()
	case "count":
		return strconv.Itoa(s.service.Count())
	case "forget": // drops all but the newest change of the user shard
		s.forget(t)
	case "purge": // what is done with the rows of a user whose account is gone
		body := &commandv1.PurgeUser{User: user}
		for _, t := range s.catalog.Current().Tables() {
			body.Tables = append(body.Tables, &commandv1.UserTable{TableId: uint64(t.ID)})
		}
		_, err := s.direct.Execute(t.Context(), shard.UserShard(0), &commandv1.Command{Body: &commandv1.Command_PurgeUser{PurgeUser: body}})
		s.must(err)
	case "install": // what a snapshot does to a group
		group := shard.UserShard(0)
		s.mu.Lock()
		err := s.machines[group].Restore(s.store)
		s.mu.Unlock()
		s.must(err)
	default:
		t.Fatalf("unknown command %s", d.Cmd)
	}
	if text := s.sink.take(); text != "" {
		return text
	}
	return "ok"
}

func (s *script) forget(t *testing.T) {
	t.Helper()
	group := shard.UserShard(0)
	w := changelog.NewWriter(group, changelog.Retention{})
	s.must(w.Restore(s.store))
	last, err := changelog.Last(s.store, group)
	s.must(err)
	batch := s.store.NewBatch()
	newest := []changefeed.Change{{Kind: changefeed.Insert, Table: 1, Seq: last + 1}}
	s.must(w.Append(batch, newest))
	s.must(s.store.Commit(batch))
	s.must(batch.Close())
	s.feed.Publish(group, newest)
}

func (s *script) subscribe(t *testing.T, d *datadriven.TestData, user string) string {
	t.Helper()
	request := Request{SQL: d.Input, Initial: &Initial{}}
	d.ScanArgs(t, "id", &request.ID)
	d.MaybeScanArgs(t, "batch", &request.Initial.BatchSize)
	last, from := -1, ""
	if d.MaybeScanArgs(t, "last", &last) {
		request.Initial.LastRows = &last
	}
	if d.MaybeScanArgs(t, "from", &from) {
		index, ordinal, _ := strings.Cut(from, ".")
		i, err := strconv.ParseUint(index, 10, 64)
		s.must(err)
		n, err := strconv.Atoi(ordinal)
		s.must(err)
		cursor := command.Seq(i, n)
		request.Initial.From = &cursor
	}
	if d.HasArg("nothing") {
		request.Initial = nil
	}
	sub, err := s.service.Subscribe(t.Context(), callerOf(user), s.sink, request)
	if err != nil {
		return err.Error()
	}
	s.subs[sub.ID] = sub
	var names []string
	for _, column := range sub.Schema() {
		names = append(names, column.Name)
	}
	return "columns " + strings.Join(names, " ") + "\n" + s.batch(sub)
}

// batch fetches initial rows and follows behind the last.
func (s *script) batch(sub *Subscription) string {
	var out strings.Builder
	more := false
	if sub.HasInitial() {
		b, err := sub.NextBatch(s.tb.Context())
		if err != nil {
			sub.Close()
			return err.Error()
		}
		fmt.Fprintf(&out, "batch %d: %s", b.Number, strings.ReplaceAll(string(b.Rows), "},{", "},\n  {"))
		if more = b.HasMore; more {
			out.WriteString(" and more")
		}
		fmt.Fprintf(&out, ", last %s\n", position(b.LastSeq))
	}
	if !more {
		if err := sub.Follow(s.tb.Context(), noPace); err != nil {
			sub.Close()
			fmt.Fprintln(&out, err)
		}
	}
	s.settle()
	out.WriteString(s.sink.take())
	return out.String()
}
