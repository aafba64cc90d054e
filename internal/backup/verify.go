package backup

import (
	"context"
	"fmt"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/storage/objstore"
)

// maxProblems bounds the list of what Verify finds.
const maxProblems = 100

// Report is what Verify found.
type Report struct {
	Manifest *Manifest
	Problems []string // empty: the backup is whole; at most 100
	Chunks   int      // that were read
}

// Verify reads every byte of a backup; an empty name is the newest one. An error is a manifest that cannot be read, or the end of ctx; what is wrong
// with the rest is in the report.
func Verify(ctx context.Context, store objstore.Store, name string, progress Progress) (*Report, error) {
	m, err := Load(ctx, store, name)
	if err != nil {
		return nil, err
	}
	r, err := newReader(store)
	if err != nil {
		return nil, err
	}
	defer r.close()
	report := &Report{Manifest: m}
	digests := map[ident.TableID]*Digest{}
	groups := append([]Group{m.Catalog}, m.Groups...)
	for i, group := range groups {
		progress(uint32(100*i/len(groups)), fmt.Sprintf("group %d of %d, %d chunks read", i+1, len(groups), report.Chunks)) //nolint:gosec // a percentage
		for _, chunk := range group.Chunks {
			report.Chunks++
			err := r.records(ctx, chunk, func(record *Record, encoded []byte) error {
				if record.Table != 0 {
					digestOf(digests, record.Table).add(record.Deleted, encoded)
				}
				return nil
			})
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			if err != nil {
				report.problem("%s: %v", group.Name, err)
			}
		}
	}
	for _, problem := range m.compare(digests) {
		report.problem("%s", problem)
	}
	return report, nil
}

func (r *Report) problem(format string, args ...any) {
	if len(r.Problems) < maxProblems {
		r.Problems = append(r.Problems, fmt.Sprintf(format, args...))
	}
}

func digestOf(digests map[ident.TableID]*Digest, table ident.TableID) *Digest {
	d := digests[table]
	if d == nil {
		d = &Digest{}
		digests[table] = d
	}
	return d
}

// compare says which tables have other rows than the manifest.
func (m *Manifest) compare(digests map[ident.TableID]*Digest) (problems []string) {
	known := make(map[ident.TableID]bool, len(m.Tables))
	for i := range m.Tables {
		want := &m.Tables[i]
		known[want.ID] = true
		if got := digestOf(digests, want.ID); *got != want.Digest {
			problems = append(problems, fmt.Sprintf("table %s has %d rows, %d deleted, digest %x; the backup has %d, %d, %x",
				want.Name, got.Rows, got.Deleted, got.Sum, want.Rows, want.Deleted, want.Sum))
		}
	}
	for id := range digests {
		if !known[id] {
			problems = append(problems, fmt.Sprintf("there are rows of table %d, which the backup does not have", id))
		}
	}
	return problems
}
