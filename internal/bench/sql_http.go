package bench

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// sqlRows is the number of rows that point reads find.
const sqlRows = 10_000

// fillRows makes the table of the HTTP cases.
func (c *serverCluster) fillRows(ctx context.Context) error {
	const perStatement = 1000
	if _, err := c.sql(ctx, c.servers[0], "CREATE TABLE bench.rows (id BIGINT PRIMARY KEY, body TEXT) WITH (TYPE = 'SHARED')"); err != nil {
		return err
	}
	for first := 0; first < sqlRows; first += perStatement {
		values := make([]string, perStatement)
		for i := range values {
			values[i] = fmt.Sprintf("(%d, 'the body of row %d')", first+i, first+i)
		}
		if _, err := c.sql(ctx, c.servers[0], "INSERT INTO bench.rows VALUES "+strings.Join(values, ", ")); err != nil {
			return err
		}
	}
	return nil
}

// cpuByServer is the processor time of each server.
func (c *serverCluster) cpuByServer() []time.Duration {
	spent := make([]time.Duration, len(c.servers))
	for i, s := range c.servers {
		spent[i] = processTime(s.process.Process.Pid)
	}
	return spent
}

// cpu is the processor time of all servers.
func (c *serverCluster) cpu() time.Duration {
	total := time.Duration(0)
	for _, spent := range c.cpuByServer() {
		total += spent
	}
	return total
}
