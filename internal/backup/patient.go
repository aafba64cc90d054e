package backup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/storage/objstore"
)

// outagePatience is for how long a store may give no answer before a backup or restore fails. A store asks again by itself for
// some seconds; an outage of minutes should not throw away the work of hours.
const outagePatience = 5 * time.Minute

// patient carries out what is asked of a store, again and again while the store does not answer.
type patient struct {
	clock clock.Clock // nil asks once
}

// try returns the result of do, which can be repeated.
func (p patient) try(ctx context.Context, do func(repeated bool) error) error {
	var until time.Time
	for pause := time.Second; ; pause = min(2*pause, 15*time.Second) {
		err := do(!until.IsZero())
		if p.clock == nil || !errors.Is(err, objstore.ErrUnavailable) || ctx.Err() != nil {
			return err
		}
		now := p.clock.Now()
		if until.IsZero() {
			until = now.Add(outagePatience)
		}
		if !now.Before(until) {
			return fmt.Errorf("asked for %s: %w", outagePatience, err)
		}
		if clock.Pause(ctx, p.clock, pause) != nil {
			return errors.Join(context.Cause(ctx), err)
		}
	}
}

// patientStore is a store that a backup is written to: it is asked again while it does not answer.
type patientStore struct {
	objstore.Store
	patient
}

// Put implements objstore.Store for bodies that can be read again.
func (s patientStore) Put(ctx context.Context, key string, body io.Reader, size int64, opts objstore.PutOptions) (info objstore.ObjectInfo, err error) {
	content, ok := body.(io.ReadSeeker)
	if !ok {
		return s.Store.Put(ctx, key, body, size, opts)
	}
	err = s.try(ctx, func(repeated bool) error {
		_, failed := content.Seek(0, io.SeekStart)
		if failed != nil {
			return failed
		}
		info, failed = s.Store.Put(ctx, key, content, size, opts)
		if repeated && errors.Is(failed, objstore.ErrExists) {
			return s.own(ctx, key, content, size) // an earlier try may have arrived without an answer
		}
		return failed
	})
	return info, err
}

// own reports an object that is not the one of a body as ErrExists.
func (s patientStore) own(ctx context.Context, key string, content io.ReadSeeker, size int64) error {
	there, err := s.Get(ctx, key, 0, size+1)
	if err != nil {
		return err
	}
	data, err := io.ReadAll(there)
	if err = errors.Join(err, there.Close()); err != nil {
		return err
	}
	if _, err = content.Seek(0, io.SeekStart); err != nil {
		return err
	}
	ours, err := io.ReadAll(content)
	if err == nil && !bytes.Equal(ours, data) {
		err = fmt.Errorf("put %s: %w, with other content", key, objstore.ErrExists)
	}
	return err
}

// List implements objstore.Store; a list that broke off goes on behind its last key.
func (s patientStore) List(ctx context.Context, prefix string, fn func(objstore.ObjectInfo) error) error {
	last := ""
	return s.try(ctx, func(bool) error {
		return s.Store.List(ctx, prefix, func(info objstore.ObjectInfo) error {
			if info.Key <= last {
				return nil
			}
			if err := fn(info); err != nil {
				return err
			}
			last = info.Key
			return nil
		})
	})
}
