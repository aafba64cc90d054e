package main

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/mattn/go-runewidth"

	"github.com/kalamdb/kalamdb-go/client"
)

// look is how results are printed.
type look struct {
	format   string
	expanded bool // one line for each column, in format table
	timing   bool
}

// render prints a whole answer.
func (l look) render(w io.Writer, response *client.Response) error {
	if l.format == "json" {
		_, err := fmt.Fprintln(w, strings.TrimSpace(string(response.Body)))
		return err
	}
	for i := range response.Results {
		if err := l.result(w, &response.Results[i]); err != nil {
			return err
		}
	}
	if l.format != "table" || !l.timing {
		return nil
	}
	user := ""
	if n := len(response.Results); n > 0 {
		user = response.Results[n-1].AsUser
	}
	if user != "" {
		if _, err := fmt.Fprintf(w, "As: %s\n", user); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w, "Took: %.3f ms\n", response.TookMillis)
	return err
}

// result prints the answer to one statement.
func (l look) result(w io.Writer, r *client.Result) error {
	if len(r.Columns) == 0 {
		if l.format == "csv" || r.Message == "" {
			return nil
		}
		_, err := fmt.Fprintln(w, r.Message)
		return err
	}
	cells := texts(r)
	switch {
	case l.format == "csv":
		return renderCSV(w, r.Columns, cells)
	case l.format == "markdown":
		return renderMarkdown(w, r.Columns, cells)
	case l.expanded:
		return renderExpanded(w, r.Columns, cells)
	}
	return renderTable(w, r.Columns, cells)
}

// cell is a value as text; NULL prints differently in every format.
type cell struct {
	text string
	null bool
	left bool // it is text, not a number
}

// texts turns the rows into text.
func texts(r *client.Result) [][]cell {
	kinds := make([]string, len(r.Columns))
	for i, column := range r.Columns {
		_ = json.Unmarshal(column.DataType, &kinds[i]) // types with parameters are objects; they print as they come
	}
	rows := make([][]cell, len(r.Rows))
	for i, row := range r.Rows {
		rows[i] = make([]cell, len(r.Columns))
		for j := range r.Columns {
			if j < len(row) {
				rows[i][j] = valueText(kinds[j], row[j])
			}
		}
	}
	return rows
}

func renderCSV(w io.Writer, columns []client.Column, rows [][]cell) error {
	writer := csv.NewWriter(w)
	record := make([]string, len(columns))
	for i, column := range columns {
		record[i] = column.Name
	}
	_ = writer.Write(record) // Error tells
	for _, row := range rows {
		for i, c := range row {
			record[i] = c.text // NULL is empty
		}
		_ = writer.Write(record)
	}
	writer.Flush()
	return writer.Error()
}

func renderMarkdown(w io.Writer, columns []client.Column, rows [][]cell) error {
	var b strings.Builder
	escape := strings.NewReplacer("|", `\|`, "\n", "<br>", "\r", "")
	line := func(text func(int) string) {
		for i := range columns {
			b.WriteString("| " + escape.Replace(text(i)) + " ")
		}
		b.WriteString("|\n")
	}
	line(func(i int) string { return columns[i].Name })
	for i := range columns {
		rule := "|---"
		if len(rows) > 0 && !rows[0][i].left && !rows[0][i].null {
			rule = "|--:"
		}
		b.WriteString(rule)
	}
	b.WriteString("|\n")
	for _, row := range rows {
		line(func(i int) string { return shown(row[i]) })
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// shown is a cell in a format for people.
func shown(c cell) string {
	if c.null {
		return "NULL"
	}
	return c.text
}

// visible replaces what would disturb a table or the terminal.
func visible(text string) string {
	if !strings.ContainsFunc(text, hidden) {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		switch {
		case r == '\n':
			b.WriteString("↵")
		case r == '\t':
			b.WriteString("  ")
		case hidden(r):
			fmt.Fprintf(&b, "\\x%02x", r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

func hidden(r rune) bool { return r < 0x20 || r >= 0x7f && r < 0xa0 }

func renderTable(w io.Writer, columns []client.Column, rows [][]cell) error {
	widths := make([]int, len(columns))
	for i, column := range columns {
		widths[i] = runewidth.StringWidth(visible(column.Name))
		for _, row := range rows {
			widths[i] = max(widths[i], runewidth.StringWidth(visible(shown(row[i]))))
		}
	}
	var b strings.Builder
	rule := func(left, middle, right string) {
		b.WriteString(left)
		for i, width := range widths {
			if i > 0 {
				b.WriteString(middle)
			}
			b.WriteString(strings.Repeat("─", width+2))
		}
		b.WriteString(right + "\n")
	}
	line := func(text func(int) (string, bool)) {
		for i, width := range widths {
			s, left := text(i)
			s = visible(s)
			pad := strings.Repeat(" ", width-runewidth.StringWidth(s))
			if left {
				s += pad
			} else {
				s = pad + s
			}
			b.WriteString("│ " + s + " ")
		}
		b.WriteString("│\n")
	}
	rule("┌", "┬", "┐")
	line(func(i int) (string, bool) { return columns[i].Name, true })
	rule("├", "┼", "┤")
	for _, row := range rows {
		line(func(i int) (string, bool) { return shown(row[i]), row[i].left || row[i].null })
	}
	rule("└", "┴", "┘")
	b.WriteString(counted(len(rows)) + "\n")
	_, err := io.WriteString(w, b.String())
	return err
}

func renderExpanded(w io.Writer, columns []client.Column, rows [][]cell) error {
	width := 0
	for _, column := range columns {
		width = max(width, runewidth.StringWidth(column.Name))
	}
	var b strings.Builder
	for n, row := range rows {
		fmt.Fprintf(&b, "─[ row %d ]%s\n", n+1, strings.Repeat("─", max(width-6, 0)))
		for i, column := range columns {
			b.WriteString(runewidth.FillRight(column.Name, width) + " │ " + visible(shown(row[i])) + "\n")
		}
	}
	b.WriteString(counted(len(rows)) + "\n")
	_, err := io.WriteString(w, b.String())
	return err
}

func counted(rows int) string {
	if rows == 1 {
		return "(1 row)"
	}
	return fmt.Sprintf("(%d rows)", rows)
}
