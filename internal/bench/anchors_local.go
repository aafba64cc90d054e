package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/multiraft/bareraft"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
)

// repeat runs one operation after the other for about so long and returns how many there were and the processor time of
// this process.
func repeat(d time.Duration, one func() error) (ops int, cpu time.Duration, err error) {
	begun := cpuTime()
	for end := time.Now().Add(d); time.Now().Before(end); ops++ {
		if err := one(); err != nil {
			return 0, 0, err
		}
	}
	return ops, cpuTime() - begun, nil
}

// fileBytes is how large a file of these anchors gets.
const fileBytes = 16 << 20

// openFile makes a file of a benchmark.
func openFile(dir, name string, size int) (disk.File, error) {
	f, err := disk.Local().Create(filepath.Join(dir, fmt.Sprintf("%s-%d", name, size)), disk.Category)
	if err != nil {
		return nil, fmt.Errorf("make a file: %w", err)
	}
	return f, nil
}

// overwrite writes blocks of a file that was written before, as a recycled segment of a log is, and syncs each of them.
func overwrite(size int) func(context.Context, string) (anchorRun, error) {
	return func(_ context.Context, dir string) (anchorRun, error) {
		f, err := openFile(dir, "overwrite", size)
		if err != nil {
			return anchorRun{}, err
		}
		if _, err := f.WriteAt(make([]byte, fileBytes), 0); err != nil {
			return anchorRun{}, errors.Join(fmt.Errorf("fill a file: %w", err), f.Close())
		}
		if err := f.Sync(); err != nil {
			return anchorRun{}, errors.Join(fmt.Errorf("sync a file: %w", err), f.Close())
		}
		block, at := make([]byte, size), 0
		return anchorRun{close: f.Close, measure: func(d time.Duration) (int, time.Duration, error) {
			return repeat(d, func() error {
				if at+size > fileBytes {
					at = 0
				}
				if _, err := f.WriteAt(block, int64(at)); err != nil {
					return fmt.Errorf("overwrite a block: %w", err)
				}
				at += size
				return f.SyncData()
			})
		}}, nil
	}
}

// appendGrowing writes blocks at the end of a file that grows, and syncs each of them.
func appendGrowing(size int) func(context.Context, string) (anchorRun, error) {
	return func(_ context.Context, dir string) (anchorRun, error) {
		f, err := openFile(dir, "append", size)
		if err != nil {
			return anchorRun{}, err
		}
		block := make([]byte, size)
		return anchorRun{close: f.Close, measure: func(d time.Duration) (int, time.Duration, error) {
			return repeat(d, func() error {
				if _, err := f.Write(block); err != nil {
					return fmt.Errorf("append a block: %w", err)
				}
				return f.SyncData()
			})
		}}, nil
	}
}

// bareRaft commits entries of 128 bytes in three replicas in memory, so many in a round.
func bareRaft(batch int) func(context.Context, string) (anchorRun, error) {
	return func(context.Context, string) (anchorRun, error) {
		cluster, err := bareraft.New()
		if err != nil {
			return anchorRun{}, err
		}
		command := make([]byte, 128)
		return anchorRun{close: func() error { return nil }, measure: func(d time.Duration) (int, time.Duration, error) {
			rounds, cpu, err := repeat(d, func() error { return cluster.Commit(command, batch) })
			return rounds * batch, cpu, err
		}}, nil
	}
}

// storeBatches writes batches of values under keys in no order into a store, without a sync.
func storeBatches(batch, size int) func(context.Context, string) (anchorRun, error) {
	return func(_ context.Context, dir string) (anchorRun, error) {
		store, err := storage.Open(storage.Options{FS: disk.Local(), Dir: filepath.Join(dir, fmt.Sprintf("store-%d-%d", batch, size))})
		if err != nil {
			return anchorRun{}, err
		}
		number, key, value := uint64(0), make([]byte, 9), make([]byte, size)
		key[0] = 0xf0
		write := func() error {
			b := store.NewBatch()
			for range batch {
				number++
				binary.BigEndian.PutUint64(key[1:], number*0x9e3779b97f4a7c15)
				if err := b.Set(key, value); err != nil {
					return errors.Join(err, b.Close())
				}
			}
			return errors.Join(store.Commit(b), b.Close())
		}
		return anchorRun{close: store.Close, measure: func(d time.Duration) (int, time.Duration, error) {
			batches, cpu, err := repeat(d, write)
			return batches * batch, cpu, err
		}}, nil
	}
}
