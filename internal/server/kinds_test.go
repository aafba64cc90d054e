package server

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/config"
	"github.com/kalamdb/kalamdb-go/internal/storage/objstore/objstoretest"
)

// newestJob is the status and message of the newest job of a type, as the views tell them; empty when there is none.
func newestJob(c client, kind string) (status, message string) {
	row := c.grid("SELECT status, message FROM system.jobs WHERE job_type = '" + kind + "' ORDER BY created_at DESC, job_id DESC LIMIT 1")
	status, message, _ = strings.Cut(row, "|")
	return status, message
}

// TestEveryKindOfJobOnACluster has three nodes do a job of every kind that statements start or cause, and asks another node than the one that was told
// how it ended and what it did.
func TestEveryKindOfJobOnACluster(t *testing.T) {
	t.Parallel()
	nodes := openCluster(t, withShards(2, 1), func(cfg *config.Config) { cfg.Auth.UserCleanupDelaySecs = 1 })
	waitReady(t, nodes...)
	root, people := fillDatabase(t, nodes[0], 2)
	other := login(t, nodes[1], "root", rootPassword)
	ended := func(kind, want, says string) {
		t.Helper()
		within(t, kind+" is "+want+" and says "+says, func() bool {
			status, message := newestJob(other, kind)
			return status == want && strings.Contains(message, says)
		})
	}
	root.sql("STORAGE FLUSH TABLE app.notes")
	ended("flush", "completed", "rows")
	if hot := hotVersions(t, nodes[2], "notes"); hot != 0 {
		t.Errorf("flush: %d rows are hot", hot)
	}
	people[0].sql("UPDATE app.notes SET body = 'newer' WHERE id < 20")
	completed(t, nodes[0], root, "STORAGE FLUSH TABLE app.notes")
	root.sql("STORAGE COMPACT TABLE app.notes")
	ended("compact", "completed", "")
	if got := other.grid("SELECT count(*) FROM system.manifest WHERE scope = 'user0' AND table_name = 'notes'"); got != "1" {
		t.Errorf("compact: %s manifests", got)
	}
	if got := people[0].grid("SELECT count(*), sum(CASE WHEN body = 'newer' THEN 1 ELSE 0 END) FROM app.notes"); got != "39|19" {
		t.Errorf("compact: rows and new ones are %s", got)
	}
	root.sql("CREATE INDEX by_body ON app.notes (body)")
	within(t, "schema_change has ended", func() bool { // the statement does the same work
		status, _ := newestJob(other, "schema_change")
		return status == "completed" || status == "skipped"
	})
	if got := other.grid("EXPLAIN SELECT id FROM app.notes WHERE body = 'newer'"); !strings.Contains(got, "by_body") {
		t.Errorf("schema_change: the query is planned as %s", got)
	}
	root.sql("CREATE SCHEDULE often EVERY '1 second' DO INSERT INTO app.prices (id, price, code) VALUES (SNOWFLAKE_ID(), 1, 's')")
	within(t, "the schedule has written", func() bool { return other.grid("SELECT count(*) FROM app.prices WHERE code = 's'") == "1" })
	root.sql("DROP SCHEDULE often")
	if got := other.grid("SELECT count(*) FROM system.jobs WHERE job_type = 'statement' AND status = 'completed'"); got == "0" {
		t.Error("statement: no job has completed")
	}
	place := t.TempDir()
	root.sql("BACKUP DATABASE TO '" + place + "'")
	ended("backup", "completed", "")
	people[1].sql("EXPORT USER DATA")
	ended("user_export", "completed", "")
	people[1].url = other.url
	if got := people[1].grid("SELECT count(*) FROM (SELECT 1) x"); got != "1" || !strings.Contains(people[1].grid("SHOW EXPORT"), "/v1/exports/") {
		t.Errorf("user_export: %s", people[1].grid("SHOW EXPORT"))
	}
	root.sql("RUN JOB retention")
	ended("retention", "skipped", "no deletion is old enough") // they are kept for an hour at least
	root.sql("RUN JOB job_cleanup")
	ended("job_cleanup", "completed", "forgot 0 jobs")
	people[0].sql("INSERT INTO app.events VALUES (2, 'seen')")
	root.sql("CREATE STREAM TABLE app.brief (id BIGINT PRIMARY KEY) WITH (TTL_SECONDS = 1)")
	people[0].sql("INSERT INTO app.brief VALUES (1), (2)")
	within(t, "stream_eviction has removed the rows", func() bool { return hotVersions(t, nodes[1], "brief") == 0 })
	root.sql("RUN JOB stream_eviction")
	if hot := hotVersions(t, nodes[2], "events"); hot != 3 {
		t.Errorf("stream_eviction: %d rows whose time is not over are left of 3", hot)
	}
	root.sql("DROP TABLE app.prices")
	ended("cleanup", "completed", "removed the rows of app.prices")
	root.sql("DROP USER user0")
	ended("user_cleanup", "completed", "backups that still hold rows of the user")
	if got := other.grid("SELECT count(*) FROM system.users WHERE user_id = 'user0'"); got != "0" {
		t.Error("user_cleanup: the account is there")
	}
	fresh, there := oneNode(t, withShards(1, 1))
	completed(t, fresh, there, "RESTORE DATABASE FROM '"+place+"'")
	if status, _ := newestJob(there, "restore"); status != "completed" {
		t.Errorf("restore: the job is %s", status)
	}
	if got := login(t, fresh, "user1", "Secret-of-a-user-1").grid("SELECT count(*) FROM app.notes"); got != "39" {
		t.Errorf("restore: %s rows", got)
	}
}

// leapingClock is the machine's clock, which a test sets forward.
type leapingClock struct {
	clock.Real
	by *atomic.Int64
}

func (c leapingClock) Now() time.Time { return c.Real.Now().Add(time.Duration(c.by.Load())) }

// leapingNode is one node, and what sets its clock forward and logs in anew, because tokens are too old then.
func leapingNode(t *testing.T) (n *Node, leap func(by time.Duration) (root client)) {
	t.Helper()
	wall := leapingClock{by: &atomic.Int64{}}
	cfg := testConfig(t.TempDir())
	withShards(1, 1)(cfg)
	n = openNode(t, cfg, Options{clock: wall})
	waitReady(t, n)
	return n, func(by time.Duration) client {
		wall.by.Add(int64(by))
		return login(t, n, "root", rootPassword)
	}
}

// TestMissedTimesOfSchedules sets the clock over the times of two schedules: one of them makes up for it, once, and has all tables flushed; the other one
// leaves it out.
func TestMissedTimesOfSchedules(t *testing.T) {
	t.Parallel()
	n, leap := leapingNode(t)
	root := leap(0)
	root.sql("CREATE NAMESPACE app")
	root.sql("CREATE SHARED TABLE app.pub (id BIGINT PRIMARY KEY)")
	root.sql("CREATE USER TABLE app.own (id BIGINT PRIMARY KEY)")
	root.sql("INSERT INTO app.pub VALUES (1), (2)")
	root.sql("INSERT INTO app.own VALUES (1), (2)")
	const daily = " CRON '30 12 * * *' TIME ZONE 'Europe/Berlin' "
	root.sql("CREATE SCHEDULE made" + daily + "MISFIRE RUN DO STORAGE FLUSH ALL")
	root.sql("CREATE SCHEDULE left" + daily + "DO INSERT INTO app.pub VALUES (3)")
	root = leap(4 * 24 * time.Hour)
	within(t, "all tables are flushed", func() bool { return hotVersions(t, n, "pub")+hotVersions(t, n, "own") == 0 })
	within(t, "one time is left out, the other was made up for once", func() bool {
		return root.grid("SELECT schedule_name, skipped, last_run IS NULL, next_run > NOW() FROM system.schedules ORDER BY schedule_name") ==
			"left|1|true|true\nmade|0|false|true"
	})
	if got := root.grid("SELECT count(*) FROM system.jobs WHERE job_type = 'statement'"); got != "1" {
		t.Errorf("%s jobs of schedules ran", got)
	}
	if got := root.grid("SELECT count(*) FROM app.pub") + root.grid("SELECT count(*) FROM app.own"); got != "22" {
		t.Errorf("the tables have %s rows", got)
	}
}

// TestChoresOfTheClock sets the clock of a node forward: what its deletions, stream rows and old jobs wait for is over, and statements have jobs
// remove them.
func TestChoresOfTheClock(t *testing.T) {
	t.Parallel()
	n, leap := leapingNode(t)
	root := leap(0)
	root.sql("CREATE NAMESPACE app")
	root.sql("CREATE SHARED TABLE app.t (id BIGINT PRIMARY KEY) WITH (DELETED_RETENTION_HOURS = '5')")
	root.sql("CREATE STREAM TABLE app.s (id BIGINT PRIMARY KEY) WITH (TTL_SECONDS = 10000)")
	root.sql("INSERT INTO app.t VALUES (1), (2), (3)")
	root.sql("INSERT INTO app.s VALUES (1), (2)")
	root.sql("DELETE FROM app.t WHERE id < 3")
	retain := func() string {
		t.Helper()
		job := startJob(t, n, root, "RUN JOB retention")
		return catalog.JobState(job.GetState()).String() + " " + job.GetMessage() + job.GetError()
	}
	if got := retain(); !strings.HasPrefix(got, "skipped") {
		t.Errorf("retention at once: %s", got)
	}
	root = leap(6 * time.Hour)
	within(t, "the deletions are gone", func() bool { // the job may be the one that the leader makes each hour
		retain()
		return root.grid("SELECT count(*) FROM app.t WHERE _deleted = true") == "0"
	})
	if got := root.grid("SELECT id FROM app.t"); got != "3" || hotVersions(t, n, "t") != 1 {
		t.Errorf("after retention: rows %s, %d versions", got, hotVersions(t, n, "t"))
	}
	root.sql("RUN JOB stream_eviction")
	within(t, "the rows of the stream are gone", func() bool { return hotVersions(t, n, "s") == 0 })
	old := root.grid("SELECT min(job_id) FROM system.jobs WHERE job_type = 'retention'")
	root = leap(31 * 24 * time.Hour)
	within(t, "old jobs are forgotten", func() bool { // as above
		startJob(t, n, root, "RUN JOB job_cleanup")
		return root.grid("SELECT count(*) FROM system.jobs WHERE job_id = '"+old+"'") == "0"
	})
}

// TestProgressOfWorkThatIsUnderWay stops jobs in the middle of their work in a bucket. How far they are can be read through another node while they run; one
// that is killed there says so, and changes nothing any more.
func TestProgressOfWorkThatIsUnderWay(t *testing.T) {
	t.Parallel()
	server := objstoretest.NewServer(t)
	nodes := openCluster(t, withShards(4, 1), withKey)
	waitReady(t, nodes...)
	root := login(t, nodes[0], "root", rootPassword)
	other := login(t, nodes[1], "root", rootPassword)
	root.sql(s3Statement("archive", server))
	root.sql("CREATE NAMESPACE app")
	root.sql("CREATE USER TABLE app.t (id BIGINT PRIMARY KEY, name TEXT) WITH (STORAGE_ID = 'archive')")
	for i := range 8 {
		name := "user" + strconv.Itoa(i)
		root.sql("CREATE USER " + name + " WITH PASSWORD 'Secret-of-a-user-1' ROLE user")
		login(t, nodes[0], name, "Secret-of-a-user-1").sql("INSERT INTO app.t VALUES (1, 'one')")
	}
	// halted runs a statement whose job stands still at the nth request that writes an object with this in its name, for others write too, and hands
	// over what releases it, and what is closed when the job gives the request up.
	halted := func(nth int, object, sql string) (id string, release func(), givenUp chan struct{}) {
		t.Helper()
		goOn, stands, givenUp := make(chan struct{}), make(chan struct{}), make(chan struct{})
		server.Fail(func(r *http.Request) http.Handler {
			if r.Method != http.MethodPut || !strings.Contains(r.URL.Path, object) {
				return nil
			}
			if nth--; nth != 0 {
				return nil
			}
			return objstoretest.Wrap(func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
				close(stands)
				_, _ = io.Copy(io.Discard, r.Body) // the server tells that the client is gone when it has read all
				select {
				case <-goOn:
					objstoretest.Answer(http.StatusServiceUnavailable, "SlowDown").ServeHTTP(w, r) // it is sent again
				case <-r.Context().Done():
					close(givenUp)
				}
			})
		})
		_, a := root.ask(sql)
		if len(a.Results) != 1 {
			t.Fatalf("%s: %+v", sql, a.Error)
		}
		_, id, _ = strings.Cut(a.Results[0].Message, "Job ID: ")
		<-stands
		return id, func() { close(goOn) }, givenUp
	}
	state := func(id string) (status string, percent int, message string) {
		t.Helper()
		fields := strings.SplitN(other.grid("SELECT status, progress_percent, message FROM system.jobs WHERE job_id = '"+id+"'"), "|", 3)
		percent, _ = strconv.Atoi(fields[1])
		return fields[0], percent, fields[2]
	}
	seen := func(id string) {
		t.Helper()
		within(t, id+" is under way", func() bool {
			status, percent, message := state(id)
			return status == "running" && percent > 0 && percent < 100 && message != "" && message != "null"
		})
	}
	done := func(id string) {
		t.Helper()
		within(t, id+" has completed", func() bool {
			status, percent, _ := state(id)
			return status == "completed" && percent == 100
		})
	}
	id, _, givenUp := halted(8, ".parquet", "STORAGE FLUSH TABLE app.t") // the last of the files
	seen(id)
	root.sql("KILL JOB '" + id + "'")
	if status, _, _ := state(id); status != "cancelled" {
		t.Errorf("after KILL JOB it is %s", status)
	}
	<-givenUp
	if hot := hotVersions(t, nodes[1], "t"); hot == 0 {
		t.Error("the job that was killed has moved all rows")
	}
	id, release, _ := halted(1, ".parquet", "STORAGE FLUSH TABLE app.t")
	release()
	done(id)
	if hot := hotVersions(t, nodes[1], "t"); hot != 0 {
		t.Errorf("%d rows are hot", hot)
	}
	id, release, _ = halted(4, "/chunks/", "BACKUP DATABASE TO 'archive/backups'")
	seen(id)
	release()
	done(id)
}
