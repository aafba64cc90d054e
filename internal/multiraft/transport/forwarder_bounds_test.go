package transport

import (
	"context"
	"errors"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/kalamdb/kalamdb-go/internal/clock"
	nodev1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/node/v1"
)

func TestForwardFramesAreBounded(t *testing.T) {
	t.Parallel()
	target := 100 * forwardEnvelope
	f := newForwarder(&peer{transport: &GRPC{cfg: GRPCConfig{Clock: clock.Real{}, Limits: Limits{FrameTarget: target, FrameLimit: 1 << 20}}}})
	push := func(size int) *forward {
		c := &forward{size: size + forwardEnvelope, req: &nodev1.ForwardRequest{Data: make([]byte, size)}, done: make(chan forwardEnd, 1)}
		if overloaded, err := f.push(nil, c); overloaded || err != nil {
			t.Fatal(overloaded, err)
		}
		return c
	}
	frame := func() (calls []uint64) {
		batch, ok := f.take().(*nodev1.ForwardBatch)
		if !ok {
			return nil
		}
		for _, call := range batch.GetCalls() {
			calls = append(calls, call.GetNumber())
		}
		return calls
	}
	f.single = &grpc.ClientConn{}
	for range 150 {
		push(0)
	}
	large := push(10 * target)
	left := push(0)
	push(0)
	if _, err := f.leave(left, context.Canceled); !errors.Is(err, ErrNotDelivered) {
		t.Errorf("a call that was left before it was sent ended with %v", err)
	}
	first, second, third, fourth := frame(), frame(), frame(), frame()
	if len(first) != 100 || len(second) != 50 || len(third) != 1 || third[0] != large.number || len(fourth) != 1 || fourth[0] != left.number+1 {
		t.Errorf("frames of %d, %d, %v, %v calls", len(first), len(second), third, fourth)
	}
	if rest := frame(); rest != nil {
		t.Errorf("another frame with %v", rest)
	}
}

func TestForwardStreamRefusesNumbersTwice(t *testing.T) {
	t.Parallel()
	g := newGate()
	_, conn, _ := victim(t, &quietHandler{forward: g.forward})
	stream, err := nodev1.NewNodeServiceClient(conn).ForwardStream(metadata.NewOutgoingContext(t.Context(), metadata.New(goodHello())))
	if err != nil {
		t.Fatal(err)
	}
	call := func(number uint64, text string) *nodev1.ForwardBatch {
		return &nodev1.ForwardBatch{Calls: []*nodev1.ForwardCall{{Number: number, Request: proposal(text)}}}
	}
	if err = errors.Join(stream.Send(call(4, "first")), stream.Send(&nodev1.ForwardBatch{Abandoned: []uint64{1, 4, 9}})); err != nil {
		t.Fatal(err)
	}
	answers, err := stream.Recv()
	if err != nil || len(answers.GetAnswers()) != 1 || answers.GetAnswers()[0].GetNumber() != 4 {
		t.Fatalf("answers %v, %v", answers, err)
	}
	if err = stream.Send(call(4, "again")); err != nil {
		t.Fatal(err)
	}
	if _, err = stream.Recv(); status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), "call 4 does not follow") {
		t.Errorf("the stream ended with %v", err)
	}
	await(t, g.entered, "first")
	if len(g.entered) > 0 {
		t.Error("the second call of one number was run")
	}
}

func TestForwardStreamBoundsItsPeer(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	_, conn, _ := victim(t, &quietHandler{forward: func(context.Context, *nodev1.ForwardRequest) *nodev1.ForwardResponse {
		<-release
		return &nodev1.ForwardResponse{}
	}})
	stream, err := nodev1.NewNodeServiceClient(conn).ForwardStream(metadata.NewOutgoingContext(t.Context(), metadata.New(goodHello())))
	if err != nil {
		t.Fatal(err)
	}
	for first := uint64(1); first <= maxForwards+1; first += 256 {
		batch := &nodev1.ForwardBatch{}
		for number := first; number < first+256 && number <= maxForwards+1; number++ {
			batch.Calls = append(batch.Calls, &nodev1.ForwardCall{Number: number, Request: proposal("x")})
		}
		if err = stream.Send(batch); err != nil {
			t.Fatal(err)
		}
	}
	answers, err := stream.Recv()
	if err != nil || len(answers.GetAnswers()) != 1 {
		t.Fatalf("answers %v, %v", answers, err)
	}
	if a := answers.GetAnswers()[0]; a.GetNumber() != maxForwards+1 || a.GetResponse().GetError() != nodev1.ForwardError_FORWARD_ERROR_OVERLOADED {
		t.Errorf("the first answer is %v", a)
	}
	close(release)
	for answered := 0; answered < maxForwards; answered += len(answers.GetAnswers()) {
		if answers, err = stream.Recv(); err != nil {
			t.Fatalf("after %d answers: %v", answered, err)
		}
	}
}

// TestForwardStreamEndsForAPeerThatTakesNoAnswers starts calls whose answers nobody sends on, as for a peer that asks and does not read.
func TestForwardStreamEndsForAPeerThatTakesNoAnswers(t *testing.T) {
	t.Parallel()
	node, _, _ := victim(t, &quietHandler{forward: func(ctx context.Context, _ *nodev1.ForwardRequest) *nodev1.ForwardResponse {
		<-ctx.Done()
		return &nodev1.ForwardResponse{}
	}})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r := &forwardRun{service: &service{transport: node}, wake: make(chan struct{}, 1), running: make(map[uint64]context.CancelFunc)}
	for number := uint64(1); number <= mostUnanswered; number++ {
		if wrong := r.start(ctx, &nodev1.ForwardCall{Number: number}); wrong != "" {
			t.Fatalf("call %d: %s", number, wrong)
		}
	}
	if wrong := r.start(ctx, &nodev1.ForwardCall{Number: mostUnanswered + 1}); !strings.Contains(wrong, "answers are not taken") {
		t.Errorf("call %d: %q", mostUnanswered+1, wrong)
	}
	r.mu.Lock()
	running, refused := len(r.running), len(r.answers)
	r.mu.Unlock()
	if running != maxForwards || refused != mostUnanswered-maxForwards {
		t.Errorf("%d calls run and %d were refused, want %d and %d", running, refused, maxForwards, mostUnanswered-maxForwards)
	}
}
