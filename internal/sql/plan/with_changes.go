package plan

import (
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
)

// WithChanges runs changes and then a statement that may read what they return. All of them see the rows that were there before, and
// what they write is one command.
type WithChanges struct {
	Parts []ChangingPart
	Main  Statement // *Query, *Insert, *Update or *Delete
	Scans []*Scan   // of common table expressions that only read
}

// ChangingPart is a change within WITH.
type ChangingPart struct {
	Name   string
	Change Statement  // *Insert, *Update or *Delete
	Rows   *WorkTable // takes what RETURNING gives; nil without one
}

func (*WithChanges) statement() {}

// authorizeChanges checks all tables that the parts of a statement read and change.
func (e *Environment) authorizeChanges(node *parse.WithChanges) error {
	if err := e.authorizeTables(tablesOf(node)); err != nil {
		return err
	}
	changes := []parse.Statement{node.Main}
	for i := range node.With.Tables {
		changes = append(changes, node.With.Tables[i].Change)
	}
	for _, change := range changes {
		if name, ok := changedTable(change); ok {
			if err := e.authorizeTarget(name); err != nil {
				return err
			}
		}
	}
	return nil
}

// changedTable names the table of a change; it reports false for what is none.
func changedTable(statement parse.Statement) (parse.ObjectName, bool) {
	switch s := statement.(type) {
	case *parse.Insert:
		return s.Table, true
	case *parse.Update:
		return s.Table, true
	case *parse.Delete:
		return s.Table, true
	}
	return parse.ObjectName{}, false
}

// withChanges plans the parts in the order in which they are written. Each can name those before it.
func (e *Environment) withChanges(node *parse.WithChanges) (Statement, error) {
	b := e.newBuilder(false)
	b.keeps = true
	planned := &WithChanges{}
	for i := range node.With.Tables {
		common := &node.With.Tables[i]
		if known, _ := b.named.find(common.Name); known != nil {
			return nil, invalid(common, "WITH query name %q is used twice", common.Name)
		}
		if common.Change == nil {
			if err := b.commonTable(node.With, common); err != nil {
				return nil, err
			}
			continue
		}
		part, err := b.changingPart(common)
		if err != nil {
			return nil, err
		}
		planned.Parts = append(planned.Parts, part)
	}
	planned.Scans = b.scans
	var err error
	last := b.part()
	if query, ok := node.Main.(*parse.Query); ok {
		last.capped = true
		planned.Main, err = last.statement(query)
		return planned, err
	}
	planned.Main, err = last.change(node.Main)
	return planned, err
}

// part is the builder of a part: it knows the parts before it.
func (b *queryBuilder) part() *queryBuilder {
	return &queryBuilder{env: b.env, named: b.named, relations: b.relations, keeps: true}
}

// change plans a change of rows.
func (b *queryBuilder) change(statement parse.Statement) (Statement, error) {
	switch node := statement.(type) {
	case *parse.Insert:
		return b.insert(node)
	case *parse.Update:
		return b.update(node)
	case *parse.Delete:
		return b.delete(node)
	}
	return nil, unsupported(statement, "this statement cannot stand behind WITH")
}

// changingPart plans a change within WITH and names what it returns.
func (b *queryBuilder) changingPart(common *parse.CommonTable) (ChangingPart, error) {
	if *b.relations++; *b.relations > maxRelations {
		return ChangingPart{}, invalid(common, "the statement reads more than %d tables", maxRelations)
	}
	part := ChangingPart{Name: common.Name}
	var err error
	if part.Change, err = b.part().change(common.Change); err != nil {
		return part, err
	}
	named := &namedTables{parent: b.named, name: common.Name}
	if returning := returningOf(part.Change); returning != nil {
		if named.columns, err = renamed(common, returning.Columns, common.Columns); err != nil {
			return part, err
		}
		part.Rows = &WorkTable{Name: common.Name, width: len(returning.Columns)}
		named.node = &Shared{Name: common.Name, Input: part.Rows, kept: true}
	}
	b.named = named
	return part, nil
}

// returningOf is what a planned change gives back; nil for nothing.
func returningOf(change Statement) *Returning {
	switch s := change.(type) {
	case *Insert:
		return s.Returning
	case *Update:
		return s.Returning
	case *Delete:
		return s.Returning
	}
	return nil
}

// withChanges prints the parts, then the statement behind them.
func (p *printer) withChanges(s *WithChanges) {
	for i := range s.Parts {
		p.line("With: %s", s.Parts[i].Name)
		p.indented(s.Parts[i].Change)
	}
	p.statement(s.Main)
}

// indented prints a statement below a line.
func (p *printer) indented(statement Statement) {
	p.depth++
	p.statement(statement)
	p.depth--
}
