package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// pageRows is how many rows one query of the verification reads.
const pageRows = 1000

// verify reads the table on every node and wants each acknowledged row there.
func verify(ctx context.Context, out io.Writer, c *cluster, s *session, w *writer) error {
	want := w.total()
	if want == 0 {
		return errors.New("no row was acknowledged")
	}
	say(out, "verifying %d acknowledged rows\n", want)
	missing := int64(0)
	for node := range c.nodes {
		found, err := countOwned(ctx, s, c.url(node), w)
		if err != nil {
			return fmt.Errorf("read node %d: %w", node+1, err)
		}
		say(out, "  node %d   %d of %d\n", node+1, found, want)
		missing += want - found
	}
	if missing != 0 {
		return fmt.Errorf("%d acknowledged rows are missing", missing)
	}
	return nil
}

// countOwned counts the rows at a node that the writer knows to be acknowledged.
func countOwned(ctx context.Context, s *session, url string, w *writer) (int64, error) {
	found, last := int64(0), w.base-1
	for {
		rows, err := s.query(ctx, url, fmt.Sprintf("SELECT id FROM %s WHERE id > $1 ORDER BY id LIMIT %d", sampleTable, pageRows), last)
		if err != nil {
			return 0, err
		}
		for _, row := range rows {
			id, err := whole(row[0])
			if err != nil {
				return 0, err
			}
			if id <= last {
				return 0, fmt.Errorf("row %d follows row %d", id, last)
			}
			last = id
			if w.owns(id) {
				found++
			}
		}
		if len(rows) < pageRows {
			return found, nil
		}
	}
}
