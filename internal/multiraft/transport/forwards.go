package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	nodev1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/node/v1"
)

// ForwardStream implements nodev1.NodeServiceServer: it runs the proposals of one peer side by side and sends every answer
// as soon as the one before is on its way.
func (s *service) ForwardStream(stream grpc.BidiStreamingServer[nodev1.ForwardBatch, nodev1.ForwardAnswers]) error {
	ctx := stream.Context()
	_, from, err := s.admit(ctx)
	if err != nil {
		return err
	}
	if err := stream.SendHeader(metadata.Pairs(metadataAccepted, "1")); err != nil {
		return fmt.Errorf("accept proposals of replica %d: %w", from, err)
	}
	r := &forwardRun{
		service: s, wake: make(chan struct{}, 1), running: make(map[uint64]context.CancelFunc),
	}
	ended := make(chan error, 1)
	s.transport.readers.Go(func() { ended <- r.read(stream) })
	for {
		runtime.Gosched() // whoever is about to be answered too goes with the others
		if err := r.send(stream); err != nil {
			return err
		}
		select {
		case err := <-ended:
			return err
		case <-s.transport.ending: // the calls have ended
			if err := r.send(stream); err != nil {
				return err
			}
			return status.Error(codes.Unavailable, "this node is shutting down")
		case <-r.wake:
		}
	}
}

// forwardRun is what one peer has asked for and was not told yet.
type forwardRun struct {
	service *service
	wake    chan struct{} // has room for one; there are answers

	mu      sync.Mutex // guards all below
	last    uint64     // highest number seen
	running map[uint64]context.CancelFunc
	answers []*nodev1.ForwardAnswer
	open    int // calls whose answers were not sent
	bytes   int // their data, and that of the answers
}

// read starts calls until the stream ends. Those that run then are given up.
func (r *forwardRun) read(stream grpc.BidiStreamingServer[nodev1.ForwardBatch, nodev1.ForwardAnswers]) error {
	ctx := stream.Context() // ends with the stream
	for {
		batch, err := stream.Recv()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case status.Code(err) == codes.ResourceExhausted:
			return r.service.refuse(ctx, &refusal{reason: refusedFrame, sentence: status.Convert(err).Message()})
		case err != nil:
			return err
		}
		for _, number := range batch.GetAbandoned() {
			r.abandon(number)
		}
		for _, call := range batch.GetCalls() {
			if wrong := r.start(ctx, call); wrong != "" {
				return r.service.refuse(ctx, &refusal{reason: refusedMalformed, sentence: wrong})
			}
		}
	}
}

// start runs a call, or says what is wrong with a peer that sends it: its number is not higher than that of every call
// before, or the peer goes on asking and does not take the answers.
func (r *forwardRun) start(ctx context.Context, call *nodev1.ForwardCall) (wrong string) {
	number, size := call.GetNumber(), len(call.GetRequest().GetData())+forwardEnvelope
	patience := call.GetPatienceMicros()
	if patience == 0 || patience > maxPatienceMicros {
		patience = maxPatienceMicros
	}
	bound, cancel := context.WithTimeout(ctx, time.Duration(patience)*time.Microsecond)
	r.mu.Lock()
	if number <= r.last {
		wrong = fmt.Sprintf("call %d does not follow the calls before it", number)
	} else if r.open >= mostUnanswered {
		wrong = fmt.Sprintf("%d calls are not answered, and their answers are not taken", r.open)
	}
	if wrong != "" {
		r.mu.Unlock()
		cancel()
		return wrong
	}
	r.last = number
	full := r.open >= maxForwards || r.open > 0 && r.bytes+size > maxForwardBytes
	r.open++
	r.bytes += size
	entered := !full && r.service.transport.calls.enter()
	if entered {
		r.running[number] = cancel
	}
	r.mu.Unlock()
	switch {
	case full:
		cancel()
		r.finish(number, size, &nodev1.ForwardResponse{
			Error: nodev1.ForwardError_FORWARD_ERROR_OVERLOADED, Message: "too many forwarded proposals are under way",
		})
	case !entered:
		cancel()
		r.finish(number, size, &nodev1.ForwardResponse{
			Error: nodev1.ForwardError_FORWARD_ERROR_STOPPED, Message: "this node is shutting down",
		})
	default:
		go r.run(bound, cancel, call, size)
	}
	return ""
}

// maxPatienceMicros is how long a call may run whose caller names no end.
const maxPatienceMicros = uint64(24 * time.Hour / time.Microsecond)

// run carries out one call. The node's stop waits for it.
func (r *forwardRun) run(ctx context.Context, cancel context.CancelFunc, call *nodev1.ForwardCall, size int) {
	defer cancel()
	defer r.service.transport.calls.leave()
	req := call.GetRequest()
	if req == nil {
		req = &nodev1.ForwardRequest{}
	}
	resp := r.service.transport.handler.HandleForward(ctx, req)
	r.mu.Lock()
	delete(r.running, call.GetNumber())
	r.mu.Unlock()
	r.finish(call.GetNumber(), size, resp)
}

// abandon ends the context of a call, if it runs.
func (r *forwardRun) abandon(number uint64) {
	r.mu.Lock()
	cancel := r.running[number]
	delete(r.running, number)
	r.mu.Unlock()
	if cancel != nil {
		cancel()
	}
}

// finish queues the answer of a call.
func (r *forwardRun) finish(number uint64, size int, resp *nodev1.ForwardResponse) {
	r.mu.Lock()
	r.answers = append(r.answers, &nodev1.ForwardAnswer{Number: number, Response: resp})
	r.bytes += len(resp.GetResult()) + forwardEnvelope - size
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// send sends the answers there are.
func (r *forwardRun) send(stream grpc.BidiStreamingServer[nodev1.ForwardBatch, nodev1.ForwardAnswers]) error {
	for answers := r.take(); answers != nil; answers = r.take() {
		err := stream.Send(answers)
		r.release(answers)
		if err != nil {
			return err
		}
	}
	return nil
}

// take makes the next frame of answers, nil when there is none.
func (r *forwardRun) take() *nodev1.ForwardAnswers {
	r.mu.Lock()
	defer r.mu.Unlock()
	taken, size := 0, 0
	for _, a := range r.answers {
		room := len(a.GetResponse().GetResult()) + forwardEnvelope
		if taken > 0 && (size+room > r.service.transport.cfg.Limits.FrameTarget || taken == maxForwardsFrame) {
			break
		}
		taken++
		size += room
	}
	if taken == 0 {
		return nil
	}
	answers := &nodev1.ForwardAnswers{Answers: append([]*nodev1.ForwardAnswer(nil), r.answers[:taken]...)}
	rest := copy(r.answers, r.answers[taken:])
	clear(r.answers[rest:])
	r.answers = r.answers[:rest]
	return answers
}

// release makes room for as many calls as were answered.
func (r *forwardRun) release(sent *nodev1.ForwardAnswers) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open -= len(sent.GetAnswers())
	for _, a := range sent.GetAnswers() {
		r.bytes -= len(a.GetResponse().GetResult()) + forwardEnvelope
	}
}
