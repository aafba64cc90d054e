package plan

import (
	"fmt"
	"strings"

	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/sql/expr"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
)

// Print writes a statement's plan as indented lines, one node each, inputs below their consumer.
func Print(statement Statement) string { return PrintWith(statement, nil) }

// PrintWith is Print with a remark behind each node; a nil function remarks nothing.
func PrintWith(statement Statement, remark func(Node) string) string {
	p := &printer{remark: remark}
	p.statement(statement)
	return strings.TrimRight(p.text.String(), "\n")
}

// statement writes a plan.
func (p *printer) statement(statement Statement) {
	switch s := statement.(type) {
	case *Query:
		names := make([]string, len(s.Columns))
		for i, column := range s.Columns {
			names[i] = column.Name + " " + column.Type.String()
		}
		p.line("Query: %s", strings.Join(names, ", "))
		p.child(s.Root)
	case *Insert:
		p.insert(s)
	case *Update:
		p.line("Update: %s", s.Scan.Table.FullName())
		for _, assignment := range s.Assignments {
			p.line("  %s = %s", s.Scan.Table.Columns[assignment.Position].Name, assignment.Value)
		}
		p.child(s.rows())
	case *Delete:
		p.line("Delete: %s", s.Scan.Table.FullName())
		p.child(s.rows())
	case *WithChanges:
		p.withChanges(s)
	case *Meta:
		p.line("Meta: %s", strings.TrimPrefix(fmt.Sprintf("%T", s.Command.GetBody()), "*commandv1.Command_"))
	case *Analyze:
		p.line("Analyze")
		for line := range strings.Lines(Print(s.Query)) {
			p.line("  %s", strings.TrimRight(line, "\n"))
		}
	case *SetNamespace:
		p.line("SetNamespace: %s", s.Namespace)
	case *Describe:
		p.line("Describe: rows=%d", len(s.Rows))
	case *Impersonate:
		p.line("Impersonate: %s", s.Target)
		for line := range strings.Lines(Print(s.Statement)) {
			p.line("  %s", strings.TrimRight(line, "\n"))
		}
	}
}

// printer writes a tree.
type printer struct {
	text   strings.Builder
	depth  int
	remark func(Node) string // may be nil
	node   Node              // whose first line comes next; nil when it has been printed
	shown  map[*Shared]bool  // is printed once, and named from then on
}

func (p *printer) line(format string, args ...any) {
	p.text.WriteString(strings.Repeat("  ", p.depth))
	fmt.Fprintf(&p.text, format, args...)
	if p.node != nil && p.remark != nil {
		p.text.WriteString(p.remark(p.node))
	}
	p.node = nil
	p.text.WriteByte('\n')
}

func (p *printer) child(node Node) {
	p.depth++
	p.node = node
	node.describe(p)
	p.depth--
}

func (p *printer) insert(s *Insert) {
	names := make([]string, len(s.Targets))
	for i, position := range s.Targets {
		names[i] = s.Table.Columns[position].Name
	}
	p.line("Insert: %s (%s)%s rows=%d", s.Table.FullName(), strings.Join(names, ", "), scopeText(s.Table), len(s.Values))
	if s.Source != nil {
		p.child(s.Source)
	}
}

// scopeText says of which rows of a table a plan is, unless it is of all.
func scopeText(t *schema.Table) string {
	if t.Kind == schema.KindShared {
		return ""
	}
	return " scope=own"
}

func (s *Scan) describe(p *printer) {
	var b strings.Builder
	fmt.Fprintf(&b, "TableScan: %s%s", s.Table.FullName(), scopeText(s.Table))
	var names []string
	for i, needed := range s.Needed {
		switch {
		case !needed:
		case i < len(s.Table.Columns):
			names = append(names, s.Table.Columns[i].Name)
		case i == len(s.Table.Columns):
			names = append(names, "_seq")
		default:
			names = append(names, "_deleted")
		}
	}
	fmt.Fprintf(&b, " columns=[%s]", strings.Join(names, ", "))
	if s.IncludeDeleted {
		b.WriteString(" deleted=shown")
	}
	if s.Index != nil {
		fmt.Fprintf(&b, " index=%s", s.Index)
	}
	if s.Condition != nil {
		fmt.Fprintf(&b, " where=%s", s.Condition)
	}
	p.line("%s", b.String())
}

func (s *ViewScan) describe(p *printer) {
	if s.Condition == nil {
		p.line("ViewScan: %s", s.View.FullName())
		return
	}
	p.line("ViewScan: %s where=%s", s.View.FullName(), s.Condition)
}

func (r *Rows) describe(p *printer) { p.line("Rows: %d", len(r.Values)) }

func (f *Filter) describe(p *printer) {
	p.line("Filter: %s", f.Condition)
	p.child(f.Input)
}

func (a *Aggregate) describe(p *printer) {
	calls := make([]string, len(a.Grouping.Calls))
	for i, call := range a.Grouping.Calls {
		calls[i] = call.String()
	}
	p.line("Aggregate: by=[%s]%s compute=[%s]", list(a.Grouping.Keys), setsText(a.Grouping.Sets), strings.Join(calls, ", "))
	p.child(a.Input)
}

func (s *Sort) describe(p *printer) {
	keys := make([]string, len(s.Keys))
	for i := range s.Keys {
		keys[i] = s.Keys[i].String()
	}
	top := ""
	if s.Top != nil {
		top = " top"
	}
	by := ""
	if s.ByIndex != nil {
		by = " index=" + s.ByIndex.String()
	}
	if s.FromEnd {
		by = " from the end"
	}
	p.line("Sort%s: %s%s", top, strings.Join(keys, ", "), by)
	p.child(s.Input)
}

func (n *Project) describe(p *printer) {
	p.line("Project: %s", list(n.Exprs))
	p.child(n.Input)
}

func (d *Distinct) describe(p *printer) {
	p.line("Distinct")
	p.child(d.Input)
}

func (l *Limit) describe(p *printer) {
	var parts []string
	if l.Count != nil {
		parts = append(parts, "count="+l.Count.String())
	}
	if l.Offset != nil {
		parts = append(parts, "offset="+l.Offset.String())
	}
	if l.Count == nil && l.Default > 0 {
		parts = append(parts, fmt.Sprintf("default=%d", l.Default))
	}
	if l.Max > 0 {
		parts = append(parts, fmt.Sprintf("max=%d", l.Max))
	}
	if len(l.Ties) > 0 {
		parts = append(parts, "with ties")
	}
	p.line("Limit: %s", strings.Join(parts, " "))
	p.child(l.Input)
}

func list(exprs []expr.Expr) string {
	texts := make([]string, len(exprs))
	for i, e := range exprs {
		texts[i] = e.String()
	}
	return strings.Join(texts, ", ")
}

func (j *Join) describe(p *printer) {
	kind := map[parse.JoinKind]string{
		parse.InnerJoin: "Inner", parse.LeftJoin: "Left", parse.RightJoin: "Right", parse.FullJoin: "Full", parse.CrossJoin: "Cross",
	}[j.Kind]
	text := kind + "Join: nested loop"
	if len(j.LeftKeys) > 0 {
		way := "hash"
		if j.Merge {
			way = "merge"
		}
		text = kind + "Join: " + way + " [" + list(j.LeftKeys) + "] = [" + list(j.RightKeys) + "]"
	}
	if j.Partners != nil {
		text += " index=" + j.Partners.Index.Name
	}
	if j.Condition != nil {
		text += " where=" + j.Condition.String()
	}
	p.line("%s", text)
	p.child(j.Left)
	p.child(j.Right)
}

func (s *SetOperation) describe(p *printer) {
	all := ""
	if s.All {
		all = " all"
	}
	p.line("%s%s", map[parse.SetOperator]string{parse.Union: "Union", parse.Intersect: "Intersect", parse.Except: "Except"}[s.Op], all)
	p.child(s.Left)
	p.child(s.Right)
}

func (s *Shared) describe(p *printer) {
	p.line("Shared: %s", s.Name)
	if p.shown[s] {
		return
	}
	if p.shown == nil {
		p.shown = map[*Shared]bool{}
	}
	p.shown[s] = true
	p.child(s.Input)
}

func (w *WorkTable) describe(p *printer) { p.line("WorkTable: %s", w.Name) }

func (r *Recursive) describe(p *printer) {
	p.line("Recursive: %s", r.Work.Name)
	p.child(r.Base)
	p.child(r.Step)
}
