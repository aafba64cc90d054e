package expr

import (
	"strings"
	"sync/atomic"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/sql/jsonpath"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
)

// pathCall keeps the path that a call read last: most calls have a constant one. Calls of one plan may run at the same time.
type pathCall struct {
	last atomic.Pointer[readPath]
}

type readPath struct {
	text string
	path *jsonpath.Path
}

func (c *pathCall) read(text string) (*jsonpath.Path, error) {
	if last := c.last.Load(); last != nil && last.text == text {
		return last.path, nil
	}
	path, err := parsePath(text)
	if err != nil {
		return nil, err
	}
	c.last.Store(&readPath{text, path})
	return path, nil
}

func parsePath(text string) (*jsonpath.Path, error) {
	return jsonpath.Parse(text, func(pattern string, ignoreCase bool) (any, error) { return compileRegular(pattern, ignoreCase) })
}

// unstoppableSteps bounds a path where nothing can end it: the conditions of live queries hold up all that follow the same changes.
const unstoppableSteps = 100_000

// pathRun is one evaluation of a path: the document, the path, its variables, and whether errors of the document are overlooked.
type pathRun struct {
	walk     *jsonWalk
	document []byte
	path     *jsonpath.Path
	options  jsonpath.Options
	silent   bool
}

// start reads the operands. There is no document when the text is no JSON.
func (c *pathCall) start(ctx *EvalContext, a arguments, zones bool) (*pathRun, bool, error) {
	path, err := c.read(a[1].Str())
	if err != nil {
		return nil, false, err
	}
	r := &pathRun{walk: newJSONWalk(ctx), path: path}
	document, ok, err := r.walk.follow(a[0], nil)
	if err != nil || !ok {
		return nil, false, err
	}
	r.document = document
	r.options = jsonpath.Options{Walk: r.walk.Walk, Zones: zones, Match: func(pattern any, text string) (bool, error) {
		compiled, ok := pattern.(*regular)
		if !ok {
			return false, fault.New(fault.Internal, "a JSON path holds a %T", pattern)
		}
		return compiled.matches(ctx, text)
	}}
	if !ctx.canStop() {
		r.options.Steps = unstoppableSteps
	}
	if len(a) > 2 {
		variables, ok, err := r.walk.follow(a[2], nil)
		if err != nil {
			return nil, false, err
		}
		if !ok || variables[0] != '{' {
			return nil, false, fault.New(fault.InvalidStatement, "the variables of a JSON path must be an object whose keys are their names")
		}
		r.options.Variables = variables
	}
	r.silent = len(a) > 3 && a[3].Bool()
	return r, true, nil
}

// query gives what the path leads to, up to an error that is overlooked.
func (r *pathRun) query(visit jsonpath.Visit) error {
	refused, err := r.path.Query(r.document, r.options, visit)
	if refused && r.silent {
		return nil
	}
	return err
}

// json makes a value of an item.
func (r *pathRun) json(i jsonpath.Item) (datum.Datum, error) {
	out := i.Append(r.walk.Walk, nil)
	if r.walk.Err != nil {
		return datum.Datum{}, r.walk.Err
	}
	return datum.NewString(datum.JSON, string(out)), limitBytes(len(out))
}

// jsonPathFunction holds the functions and operators of JSON paths, by PostgreSQL's names. They are not computed while a statement is planned,
// which cannot be stopped.
func jsonPathFunction(name string) (definition, bool) {
	plain := strings.TrimSuffix(name, "_tz")
	call := &pathCall{}
	with := func(result datum.Type, apply func(r *pathRun) (datum.Datum, error)) definition {
		d := definition{
			operands: []operandClass{jsonOperand, textOperand, jsonOperand, booleanOperand}, optional: 2, when: stable, result: result,
			check: checkPath, apply: func(ctx *EvalContext, a arguments) (datum.Datum, error) {
				r, ok, err := call.start(ctx, a, plain != name)
				if err != nil || !ok {
					return datum.Datum{}, err
				}
				return apply(r)
			},
		}
		return d
	}
	silently := func(apply func(*pathRun) (datum.Datum, error)) func(*pathRun) (datum.Datum, error) {
		return func(r *pathRun) (datum.Datum, error) {
			r.silent = true
			return apply(r)
		}
	}
	switch plain {
	case "jsonb_path_exists":
		return with(booleanType, pathExists), true
	case "jsonb_path_match":
		return with(booleanType, pathMatch), true
	case "jsonb_path_exists_opr":
		return with(booleanType, silently(pathExists)).most(2), true
	case "jsonb_path_match_opr":
		return with(booleanType, silently(pathMatch)).most(2), true
	case "jsonb_path_query_first":
		return with(datum.Of(datum.JSON), pathFirst), true
	case "jsonb_path_query_array":
		return with(datum.Of(datum.JSON), pathArray), true
	case "jsonpath_in":
		return definition{operands: textOperands(1), when: stable, result: datum.Of(datum.Text), apply: func(_ *EvalContext, a arguments) (datum.Datum, error) {
			path, err := call.read(a[0].Str())
			if err != nil {
				return datum.Datum{}, err
			}
			return datum.NewText(path.String()), nil
		}}, true
	}
	return definition{}, false
}

// most leaves out the operands behind the first ones, which must not be optional.
func (d definition) most(operands int) definition {
	d.operands, d.optional = d.operands[:operands], 0
	return d
}

// checkPath reads a constant path before anything runs.
func checkPath(operands []Expr) error {
	if c, ok := operands[1].(*constExpr); ok && c.value.Kind() == datum.Text {
		_, err := parsePath(c.value.Str())
		return err
	}
	return nil
}

func pathExists(r *pathRun) (datum.Datum, error) {
	exists, refused, err := r.path.Exists(r.document, r.options)
	if refused && r.silent {
		return datum.Datum{}, nil
	}
	return datum.NewBool(exists), err
}

// pathMatch is the value of a path that is a predicate.
func pathMatch(r *pathRun) (datum.Datum, error) {
	count := 0
	var only jsonpath.Item
	err := r.query(func(i jsonpath.Item) (bool, error) {
		count++
		only = i
		return true, nil
	})
	if err != nil {
		return datum.Datum{}, err
	}
	if count == 1 {
		if truth, isBool, isNull := only.Truth(); isBool {
			return datum.NewBool(truth), nil
		} else if isNull {
			return datum.Datum{}, nil
		}
	}
	if r.silent {
		return datum.Datum{}, nil
	}
	return datum.Datum{}, fault.New(fault.InvalidStatement, "single boolean result is expected")
}

func pathFirst(r *pathRun) (datum.Datum, error) {
	found := false
	var first jsonpath.Item
	err := r.query(func(i jsonpath.Item) (bool, error) {
		if !found {
			found, first = true, i
		}
		return true, nil
	})
	if err != nil || !found {
		return datum.Datum{}, err
	}
	return r.json(first)
}

func pathArray(r *pathRun) (datum.Datum, error) {
	out := []byte{'['}
	err := r.query(func(i jsonpath.Item) (bool, error) {
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = i.Append(r.walk.Walk, out)
		return true, limitBytes(len(out))
	})
	if err != nil {
		return datum.Datum{}, err
	}
	return datum.NewString(datum.JSON, string(append(out, ']'))), nil
}

// pathRows gives the items that a path leads to.
func pathRows(b *binder, c *TableCall, node *parse.FuncCall) (*TableCall, error) {
	if err := takes(node, c.Name, 2, 4); err != nil {
		return nil, err
	}
	for i, class := range []operandClass{jsonOperand, textOperand, jsonOperand, booleanOperand}[:len(c.Args)] {
		var err error
		if c.Args[i], err = b.operand(c.Args[i], class, c.Name, i, node.Args[i]); err != nil {
			return nil, err
		}
	}
	if err := checkPath(c.Args); err != nil {
		return nil, err
	}
	call := &pathCall{}
	c.Columns, c.Scalar = []TableColumn{{c.Name, datum.Of(datum.JSON)}}, true
	c.start = func(ctx *EvalContext, args []datum.Datum) (RowSource, error) {
		for _, value := range args {
			if value.IsNull() {
				return rowsOf(nil), nil
			}
		}
		r, ok, err := call.start(ctx, args, strings.HasSuffix(c.Name, "_tz"))
		if err != nil || !ok {
			return rowsOf(nil), err
		}
		var rows []datum.Datum
		size := 0
		err = r.query(func(i jsonpath.Item) (bool, error) {
			if len(rows) == maxArrayElements {
				return false, fault.New(fault.LimitExceeded, "%s gives at most %d rows", c.Name, maxArrayElements)
			}
			value, made := r.json(i)
			if made != nil {
				return false, made
			}
			rows = append(rows, value)
			size += len(value.Str())
			return true, limitBytes(size)
		})
		return each(rows), err
	}
	return c, nil
}
