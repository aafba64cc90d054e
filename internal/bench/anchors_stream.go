package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"
)

// echoMethod is the only method of the process that Echo runs.
const echoMethod = "/bench.Echo/Echo"

// rawCodec passes messages as they are.
type rawCodec struct{}

// Name implements encoding.CodecV2.
func (rawCodec) Name() string { return "raw" }

// Marshal implements encoding.CodecV2.
func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	if message, ok := v.(*[]byte); ok {
		return mem.BufferSlice{mem.SliceBuffer(*message)}, nil
	}
	return nil, fmt.Errorf("%T is no message of this benchmark", v)
}

// Unmarshal implements encoding.CodecV2.
func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	message, ok := v.(*[]byte)
	if !ok {
		return fmt.Errorf("%T is no message of this benchmark", v)
	}
	*message = data.Materialize()
	return nil
}

// Echo is the other process of the anchors of a stream: it sends back what it gets, and prints the processor time that it
// has used for each line that it reads, until in ends.
func Echo(ctx context.Context, in io.Reader, out io.Writer) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	server := grpc.NewServer(grpc.ForceServerCodecV2(rawCodec{}))
	server.RegisterService(&grpc.ServiceDesc{
		ServiceName: "bench.Echo",
		HandlerType: (*any)(nil),
		Streams:     []grpc.StreamDesc{{StreamName: "Echo", Handler: echo, ClientStreams: true, ServerStreams: true}},
	}, nil)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	err = tellCPU(listener.Addr().String(), in, out)
	server.Stop()
	return errors.Join(err, <-served)
}

func tellCPU(address string, in io.Reader, out io.Writer) error {
	if _, err := fmt.Fprintln(out, address); err != nil {
		return err
	}
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		if _, err := fmt.Fprintln(out, int64(cpuTime())); err != nil {
			return err
		}
	}
	return lines.Err()
}

func echo(_ any, stream grpc.ServerStream) error {
	for {
		var message []byte
		if err := stream.RecvMsg(&message); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		if err := stream.SendMsg(&message); err != nil {
			return err
		}
	}
}

// echoPeer is the process of Echo with an open stream to it.
type echoPeer struct {
	wait   func() error // for the end of the process
	in     io.WriteCloser
	out    *bufio.Reader
	conn   *grpc.ClientConn
	stream grpc.ClientStream
	cancel context.CancelFunc
}

// startEcho starts the process and opens the stream.
func startEcho(ctx context.Context) (*echoPeer, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	command := exec.CommandContext(ctx, self, "bench", "echo") //nolint:gosec // this very program
	command.Stderr = os.Stderr
	in, err := command.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start a process: %w", err)
	}
	out, err := command.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start a process: %w", err)
	}
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("start a process: %w", err)
	}
	p := &echoPeer{wait: command.Wait, in: in, out: bufio.NewReader(out)}
	if err := p.open(ctx); err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

func (p *echoPeer) open(ctx context.Context) error {
	address, err := p.out.ReadString('\n')
	if err != nil {
		return fmt.Errorf("the other process did not start: %w", err)
	}
	if p.conn, err = grpc.NewClient("passthrough:///"+strings.TrimSpace(address),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(rawCodec{}))); err != nil {
		return fmt.Errorf("connect to %s: %w", address, err)
	}
	ctx, p.cancel = context.WithCancel(ctx)
	p.stream, err = p.conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, echoMethod)
	if err != nil {
		return fmt.Errorf("open a stream: %w", err)
	}
	return nil
}

// close ends the process and waits for it.
func (p *echoPeer) close() error {
	if p.cancel != nil {
		p.cancel()
	}
	var errs []error
	if p.conn != nil {
		errs = append(errs, p.conn.Close())
	}
	errs = append(errs, p.in.Close())
	return errors.Join(append(errs, p.wait())...)
}

// cpu asks the other process for its processor time and adds that of this one.
func (p *echoPeer) cpu() (time.Duration, error) {
	if _, err := fmt.Fprintln(p.in); err != nil {
		return 0, fmt.Errorf("ask the other process: %w", err)
	}
	line, err := p.out.ReadString('\n')
	if err != nil {
		return 0, fmt.Errorf("the other process ended: %w", err)
	}
	other, err := strconv.ParseInt(strings.TrimSpace(line), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("the other process said: %w", err)
	}
	return time.Duration(other) + cpuTime(), nil
}

// stream sends messages to another process and waits for them to come back, with so many under way.
func stream(window, size int) func(context.Context, string) (anchorRun, error) {
	return func(ctx context.Context, _ string) (anchorRun, error) {
		p, err := startEcho(ctx)
		if err != nil {
			return anchorRun{}, err
		}
		return anchorRun{close: p.close, measure: func(d time.Duration) (int, time.Duration, error) {
			begun, err := p.cpu()
			if err != nil {
				return 0, 0, err
			}
			ops, err := p.roundTrips(window, make([]byte, size), time.Now().Add(d))
			if err != nil {
				return 0, 0, err
			}
			ended, err := p.cpu()
			return ops, ended - begun, err
		}}, nil
	}
}

// roundTrips keeps window messages under way until end, and returns how many came back.
func (p *echoPeer) roundTrips(window int, message []byte, end time.Time) (ops int, err error) {
	tokens := make(chan struct{}, window) // one for each message under way
	sent := make(chan error, 1)
	stop := make(chan struct{})
	if window == 1 {
		return p.oneByOne(message, end)
	}
	go func() {
		defer close(tokens)
		for {
			select {
			case <-stop:
				sent <- nil
				return
			case tokens <- struct{}{}:
			}
			if err := p.stream.SendMsg(&message); err != nil {
				sent <- fmt.Errorf("send: %w", err)
				return
			}
		}
	}()
	running := true
	for range tokens {
		var answer []byte
		if err := p.stream.RecvMsg(&answer); err != nil {
			if running {
				close(stop)
			}
			p.cancel() // a sender that waits for room ends with the stream
			return 0, errors.Join(fmt.Errorf("receive: %w", err), <-sent)
		}
		ops++
		if running && ops%window == 0 && !time.Now().Before(end) {
			running = false
			close(stop)
		}
	}
	return ops, <-sent
}

// oneByOne sends one message and waits for its answer, again and again.
func (p *echoPeer) oneByOne(message []byte, end time.Time) (ops int, err error) {
	for ; time.Now().Before(end); ops++ {
		if err := p.stream.SendMsg(&message); err != nil {
			return 0, fmt.Errorf("send: %w", err)
		}
		var answer []byte
		if err := p.stream.RecvMsg(&answer); err != nil {
			return 0, fmt.Errorf("receive: %w", err)
		}
	}
	return ops, nil
}
