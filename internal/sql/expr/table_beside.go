package expr

import (
	"strings"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
)

// BesideEachOther is the name of a function in FROM whose arguments are such functions themselves: it gives their rows side by side, with
// NULLs for those that have ended, until all have. No statement can write it.
const BesideEachOther = "\x00beside"

// besideEachOther types a call of BesideEachOther.
func besideEachOther(node *parse.FuncCall, options Options) (*TableCall, error) {
	calls := make([]*TableCall, len(node.Args))
	names := make([]string, len(node.Args))
	all := &TableCall{}
	for i, arg := range node.Args {
		call, ok := arg.(*parse.FuncCall)
		if !ok {
			return nil, faultAt(arg, fault.InvalidStatement, "only functions give rows beside each other")
		}
		var err error
		if calls[i], err = BindTableFunction(call, options); err != nil {
			return nil, err
		}
		names[i] = calls[i].Name
		all.Args = append(all.Args, calls[i].Args...)
		all.Columns = append(all.Columns, calls[i].Columns...)
	}
	all.Name = strings.Join(names, " beside ")
	all.start = func(ctx *EvalContext, args []datum.Datum) (RowSource, error) {
		sources := make([]RowSource, len(calls))
		for i, call := range calls {
			var err error
			if sources[i], err = call.start(ctx, args[:len(call.Args):len(call.Args)]); err != nil {
				return nil, err
			}
			args = args[len(call.Args):]
		}
		return rowsBeside(calls, sources, len(all.Columns)), nil
	}
	return all, nil
}

// rowsBeside gives the rows of sources side by side; a source that has ended is nil.
func rowsBeside(calls []*TableCall, sources []RowSource, width int) RowSource {
	row := make([]datum.Datum, width)
	return func() ([]datum.Datum, error) {
		clear(row)
		given, at := false, 0
		for i, source := range sources {
			if source != nil {
				part, err := source()
				if err != nil {
					return nil, err
				}
				if part == nil {
					sources[i] = nil
				} else {
					copy(row[at:], part)
					given = true
				}
			}
			at += len(calls[i].Columns)
		}
		if !given {
			return nil, nil
		}
		return row, nil
	}
}
