package multiraft

import (
	"context"
	"fmt"
	"log/slog"
)

// Pump appends and applies what waits, on the caller's goroutine; it must not be mixed with Start.
func (s *Solo) Pump() error {
	for {
		if worked, err := s.step(); err != nil || !worked {
			return err
		}
	}
}

// step appends and applies what waits once, and reports whether there was anything. A failure is the end.
func (s *Solo) step() (bool, error) {
	worked, err := s.commit()
	if err == nil && !worked && len(s.apply.active) > 0 {
		err = s.applyAll()
	}
	if err != nil {
		s.fail(err)
		return false, err
	}
	return worked, nil
}

// Start runs the goroutines until Stop.
func (s *Solo) Start() {
	ctx, cancel := context.WithCancel(context.Background())
	s.stop = cancel
	s.running.Add(2)
	go func() {
		defer s.running.Done()
		s.run(ctx)
	}()
	go func() {
		defer s.running.Done()
		s.keepShort(ctx)
	}()
}

func (s *Solo) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.failed:
			return
		case <-s.wake:
		}
		for worked := true; worked; {
			// Those whose commands were just applied have their answers, and those who are about to hand something in share
			// the next sync, rather than all to wait while this goroutine's thread waits for the disk.
			letOthers()
			var err error
			if worked, err = s.step(); err != nil {
				return
			}
		}
	}
}

// keepShort drops the front of the logs as the store becomes durable.
func (s *Solo) keepShort(ctx context.Context) {
	const every = 20
	for tick := 1; ; tick++ {
		timer := s.cfg.Clock.NewTimer(s.cfg.TickInterval)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-s.failed:
			timer.Stop()
			return
		case <-timer.C():
		}
		s.Tick()
		if tick%every != 0 {
			continue
		}
		if err := s.Maintain(); err != nil {
			s.fail(err)
			return
		}
	}
}

// Tick looks for room on the disk, and lets what found none try again.
func (s *Solo) Tick() {
	s.room.look()
	signal(s.wake)
}

// Maintain drops log entries that are durably in the store and older than the retention, and flushes the
// store when it alone keeps them.
func (s *Solo) Maintain() error {
	if err := s.durable.refresh(s.order); err != nil {
		return err
	}
	flush := false
	for _, r := range s.order {
		log := s.cfg.Log.Group(r.id)
		upto, need := retention(log, s.room.tightened(s.cfg.retain(r.id)), s.durable.index(r.id))
		flush = flush || need && s.durable.index(r.id) < r.visible.Load()
		if upto < log.FirstIndex() {
			continue
		}
		if err := s.cfg.Log.Truncate(r.id, upto); err != nil {
			return err
		}
	}
	if flush {
		return s.cfg.Engine.Flush()
	}
	return nil
}

func (s *Solo) fail(err error) {
	s.failOnce.Do(func() {
		s.failure = err
		s.cfg.Logger.Error("the log stops", slog.Any("error", err))
		for _, r := range s.order {
			r.fail(fmt.Errorf("%w: %w", ErrOutcomeUnknown, err), true)
		}
		close(s.failed)
	})
}

// Failed is closed when the node must stop; Failure tells why.
func (s *Solo) Failed() <-chan struct{} { return s.failed }

// Failure returns why Failed was closed, nil before.
func (s *Solo) Failure() error {
	select {
	case <-s.failed:
		return s.failure
	default:
		return nil
	}
}

// Stop ends the goroutines; waiting proposals end with ErrOutcomeUnknown, later ones with ErrStopped.
func (s *Solo) Stop() {
	if s.stop != nil {
		s.stop()
	}
	s.running.Wait()
	for _, r := range s.order {
		r.fail(ErrOutcomeUnknown, false)
		r.fail(ErrStopped, true)
	}
}
