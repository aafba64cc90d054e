package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/api/wsapi"
	"github.com/kalamdb/kalamdb-go/internal/auth"
	"github.com/kalamdb/kalamdb-go/internal/changefeed"
	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/config"
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/live"
	"github.com/kalamdb/kalamdb-go/internal/loopback"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/session"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	sqlexec "github.com/kalamdb/kalamdb-go/internal/sql/exec"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// liveOrder asks the node of a live case to write rows; it answers with liveWritten.
type liveOrder struct {
	Rate     int // per second
	Duration time.Duration
}

type liveWritten struct {
	Count int
	Error string
}

// readyStamp is a publisher that writes into each row of the live table when its change was ready, which is when it is
// published: it is committed then, and nobody has been told of it.
type readyStamp struct {
	feed  *changefeed.Feed
	table atomic.Pointer[schema.Table]
}

// Publish implements applier.Publisher.
func (s *readyStamp) Publish(group shard.GroupID, changes []changefeed.Change) {
	table := s.table.Load()
	for i := range changes {
		if table == nil || changes[i].Table != table.ID {
			continue
		}
		row := make([]datum.Datum, len(table.Columns))
		if err := schema.NewRowDecoder(table, nil).Decode(changes[i].New, row); err != nil {
			panic("a row that was just written cannot be read: " + err.Error())
		}
		row[liveSentColumn] = datum.NewBigInt(time.Now().UnixNano())
		changes[i].New = schema.EncodeRow(table, row)
	}
	s.feed.Publish(group, changes)
}

// Reset implements applier.Publisher.
func (s *readyStamp) Reset(group shard.GroupID) { s.feed.Reset(group) }

// LiveNode is a node without HTTP and without the client's side of SQL: it writes rows itself, at the rate that an order on
// in asks for, and serves live queries to real sockets. It answers on out until in ends.
func LiveNode(ctx context.Context, in io.Reader, out io.Writer) (err error) {
	defaults := config.Default().Performance
	debug.SetGCPercent(defaults.GCPercent)
	debug.SetMemoryLimit(defaults.MemoryLimitBytes)
	stamp := &readyStamp{feed: changefeed.New(changefeed.Config{})}
	engine, err := openSQLEngine(ctx, stamp)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, engine.close()) }()
	if err = engine.makeLiveTable(ctx); err != nil {
		return err
	}
	table, _ := engine.tables.Current().Table("bench", "live")
	stamp.table.Store(table)
	service, err := live.New(live.Config{
		Catalog: engine.tables, Store: engine.store, Barrier: engine.direct, Feed: stamp.feed, Cold: engine.cold, Clock: clock.Real{},
		Logger: slog.New(slog.DiscardHandler), Engine: engine.engine,
	})
	if err != nil {
		return err
	}
	defer service.Close()
	sockets, err := wsapi.New(wsapi.Config{Live: service, Auth: everybody{engine.caller}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	front := &http.Server{Handler: sockets, ReadHeaderTimeout: startPatience}
	var serving sync.WaitGroup
	serving.Go(func() { _ = front.Serve(listener) }) // it ends with the server
	defer serving.Wait()
	defer front.Close() //nolint:errcheck // the process ends
	defer sockets.Shutdown(ctx)
	if _, err = fmt.Fprintln(out, listener.Addr().String()); err != nil {
		return err
	}
	for lines := bufio.NewReader(in); ; {
		var order liveOrder
		if err = readJSON(lines, &order); errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err = printJSON(out, engine.writeLive(ctx, order)); err != nil {
			return err
		}
	}
}

// everybody lets everybody in as one caller.
type everybody struct{ caller session.Session }

// Authenticate implements wsapi.Authenticator.
func (e everybody) Authenticate(context.Context, string) (auth.Identity, error) {
	return auth.Identity{User: auth.User{ID: e.caller.User, Role: e.caller.Role}}, nil
}

// makeLiveTable makes the caller's account and the table.
func (e *sqlEngine) makeLiveTable(ctx context.Context) error {
	_, err := e.direct.Execute(ctx, shard.Meta, &commandv1.Command{Body: &commandv1.Command_CreateUser{CreateUser: &commandv1.CreateUser{
		User: &commandv1.User{Id: string(e.caller.User), PasswordHash: "none", Role: uint32(e.caller.Role)},
	}}})
	if err != nil {
		return err
	}
	_, err = e.engine.Execute(ctx, sqlexec.Request{SQL: strings.Join(liveTable, "; "), Session: e.caller})
	return err
}

// writeLive writes at a rate, by several writers out of step.
func (e *sqlEngine) writeLive(ctx context.Context, order liveOrder) liveWritten {
	stop, writers := make(chan struct{}), pacers(order.Rate)
	failed := make([]error, writers)
	var id atomic.Int64
	var writing sync.WaitGroup
	for i := range writers {
		writing.Go(func() {
			late, beat := time.Duration(i)*time.Second/time.Duration(order.Rate), time.Duration(writers)*time.Second/time.Duration(order.Rate)
			failed[i] = everyBeat(stop, late, beat, func() error {
				text := fmt.Sprintf("INSERT INTO bench.live VALUES (%d, 0, 1, '%s')", id.Add(1), liveBody)
				_, err := e.engine.Execute(ctx, sqlexec.Request{SQL: text, Session: e.caller})
				return err
			})
		})
	}
	err := rest(ctx, order.Duration)
	close(stop)
	writing.Wait()
	written := liveWritten{Count: int(id.Load())}
	if err = errors.Join(append(failed, err)...); err != nil {
		written.Error = err.Error()
	}
	return written
}

// liveNodeProcess is the process of LiveNode.
type liveNodeProcess struct {
	in  io.WriteCloser
	out *bufio.Reader
}

func startLiveNode(ctx context.Context) (c *serverCluster, node *liveNodeProcess, err error) {
	program, err := os.Executable()
	if err != nil {
		return nil, nil, fmt.Errorf("find this program: %w", err)
	}
	c = &serverCluster{token: "everybody", wires: loopback.NewWires()}
	if c.dir, err = os.MkdirTemp("", "kalamdb-live-"); err != nil {
		return nil, nil, fmt.Errorf("make a directory: %w", err)
	}
	process := exec.CommandContext(ctx, program, "bench", "live-node") //nolint:gosec // this very program
	process.Stderr, process.Env = os.Stderr, append(os.Environ(), "TMPDIR="+c.dir)
	node = &liveNodeProcess{}
	if node.in, err = process.StdinPipe(); err == nil {
		var pipe io.Reader
		if pipe, err = process.StdoutPipe(); err == nil {
			node.out = bufio.NewReader(pipe)
			err = process.Start()
		}
	}
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("start a node: %w", err), os.RemoveAll(c.dir))
	}
	ended := make(chan struct{})
	address, err := node.out.ReadString('\n')
	go func() {
		_ = process.Wait() // it is killed; its state is of no interest
		close(ended)
	}()
	c.servers = []*server{{api: strings.TrimSpace(address), process: process, ended: ended}}
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("start a node: %w", err), c.stop())
	}
	return c, node, nil
}

// readyToEvent is the time from when a change is ready to the event at each of those that see it.
func (l *liveLab) readyToEvent() error {
	const subscriptions, rate = 10, 1000
	if err := l.connect(subscriptions); err != nil {
		return err
	}
	if err := l.subscribeAll(subscriptions); err != nil {
		return err
	}
	frames, cpu := l.frames(), l.cpu()
	if err := printJSON(l.node.in, liveOrder{Rate: rate, Duration: l.options.Duration}); err != nil {
		return err
	}
	var written liveWritten
	err := readJSON(l.node.out, &written)
	if err == nil && written.Error != "" {
		err = errors.New(written.Error)
	}
	if err != nil {
		return err
	}
	if err := l.await(frames + int64(written.Count*subscriptions)); err != nil {
		return err
	}
	took := l.takeLatencies()
	frames = l.frames() - frames
	return l.print(liveCase{
		Subscriptions: subscriptions, Rate: rate, Value: float64(written.Count) / l.options.Duration.Seconds(), Unit: "changes_per_s",
		P50: 1000 * took.quantile(0.5), P99: 1000 * took.quantile(0.99), CPU: float64((l.cpu() - cpu).Microseconds()) / float64(frames),
	})
}
