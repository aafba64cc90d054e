package main

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/kalamdb/kalamdb-go/client"
)

// keywords that are worth completing.
var keywords = []string{
	"ALTER", "AND", "AS", "ASC", "BEGIN", "BETWEEN", "BIGINT", "BOOLEAN", "BY", "CASE", "CAST", "CLUSTER", "COLUMN", "COMMIT",
	"CREATE", "DEFAULT", "DELETE", "DESC", "DESCRIBE", "DISTINCT", "DROP", "ELSE", "END", "EXECUTE", "EXISTS", "EXPLAIN", "FROM",
	"FULL", "GROUP", "HAVING", "IN", "INDEX", "INNER", "INSERT", "INTO", "IS", "JOIN", "KEY", "LEFT", "LIKE", "LIMIT", "NAMESPACE",
	"NOT", "NULL", "OFFSET", "ON", "OR", "ORDER", "PRIMARY", "RETURNING", "ROLLBACK", "SELECT", "SET", "SHARED", "SHOW", "STORAGE",
	"STREAM", "TABLE", "TABLES", "TEXT", "THEN", "TIMESTAMP", "UNION", "UNIQUE", "UPDATE", "USER", "USING", "VALUES", "VIEW",
	"WHEN", "WHERE", "WITH",
}

// words are the names a person can mean. They are read from the server when they are first wanted.
type words struct {
	client *client.Client

	mu      sync.Mutex // guards what is below
	loaded  bool
	tables  []string            // namespace.table
	columns map[string][]string // by namespace.table
	rows    int                 // of the catalog that were read
}

// maxWords bounds the names that are kept.
const maxWords = 10_000

func newWords(c *client.Client) *words { return &words{client: c} }

// forget makes the next completion read the names again.
func (w *words) forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.loaded = false
}

// load reads the names. Completion without them is better than an error between two keys.
func (w *words) load(ctx context.Context) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.loaded {
		return
	}
	w.loaded = true
	w.tables, w.columns, w.rows = nil, map[string][]string{}, 0
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	for len(w.tables) < maxWords {
		result, err := w.client.Query(ctx, columnsSQL+strconv.Itoa(w.rows))
		if err != nil {
			return
		}
		for _, row := range result.Rows {
			table := plain(row[0]) + "." + plain(row[1])
			if n := len(w.tables); n == 0 || w.tables[n-1] != table {
				w.tables = append(w.tables, table)
			}
			w.columns[table] = append(w.columns[table], plain(row[2]))
		}
		if w.rows += len(result.Rows); len(result.Rows) < columnsPage || w.rows >= maxWords {
			return
		}
	}
}

// columnsPage is how many columns are asked for at once; servers give no more by default.
const columnsPage = 1000

// columnsSQL reads a page of the columns behind a number of them, people's own tables first.
const columnsSQL = "SELECT table_schema, table_name, column_name FROM information_schema.columns " +
	"ORDER BY table_schema IN ('information_schema', 'pg_catalog', 'system'), table_schema, table_name, ordinal_position LIMIT 1000 OFFSET "

// complete implements liner.WordCompleter: it offers what the word before pos can become.
func (w *words) complete(ctx context.Context, line string, pos int) (head string, offers []string, tail string) {
	runes := []rune(line)
	pos = min(pos, len(runes))
	begin := pos
	for begin > 0 && !strings.ContainsRune(" \t(),;=<>'", runes[begin-1]) {
		begin--
	}
	head, tail = string(runes[:begin]), string(runes[pos:])
	return head, w.offers(ctx, head, string(runes[begin:pos])), tail
}

func (w *words) offers(ctx context.Context, head, prefix string) []string {
	if strings.HasPrefix(prefix, `\`) && strings.TrimSpace(head) == "" {
		var names []string
		for _, command := range metaCommands() {
			for _, name := range command.names {
				names = append(names, `\`+name)
			}
		}
		return matching(names, prefix)
	}
	w.load(ctx)
	w.mu.Lock()
	defer w.mu.Unlock()
	fields := strings.Fields(strings.ToUpper(head))
	wantsTable := len(fields) > 0 && slices.Contains([]string{"FROM", "JOIN", "INTO", "UPDATE", "TABLE", `\D`, "DESCRIBE"}, fields[len(fields)-1])
	if wantsTable {
		return matching(w.tables, prefix)
	}
	var names []string
	for _, table := range w.tables {
		if strings.Contains(strings.ToLower(head), table) {
			names = append(names, w.columns[table]...)
		}
	}
	if prefix == "" {
		return matching(names, prefix)
	}
	names = append(names, w.tables...)
	lower := prefix == strings.ToLower(prefix)
	for _, keyword := range keywords {
		if lower {
			keyword = strings.ToLower(keyword)
		}
		names = append(names, keyword)
	}
	return matching(names, prefix)
}

// matching returns the names with a prefix, sorted and each once.
func matching(names []string, prefix string) []string {
	var list []string
	for _, name := range names {
		if len(name) >= len(prefix) && strings.EqualFold(name[:len(prefix)], prefix) && len(list) < maxWords {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}
