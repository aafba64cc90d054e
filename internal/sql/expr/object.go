package expr

import (
	"strconv"
	"strings"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
)

// ObjectKind is a kind of objects that PostgreSQL has a type for, whose values are ids that are written as names.
type ObjectKind string

// The kinds, by the names of their types.
const (
	RelationObject  ObjectKind = "regclass"
	TypeObject      ObjectKind = "regtype"
	NamespaceObject ObjectKind = "regnamespace"
	RoleObject      ObjectKind = "regrole"
	FunctionObject  ObjectKind = "regproc"
)

// DefinitionKind is a kind of objects that functions print as SQL.
type DefinitionKind uint8

// The kinds.
const (
	IndexDefinition DefinitionKind = iota
	ConstraintDefinition
	ViewDefinition
)

// Objects finds what the caller may know of the catalog by the ids and names that PostgreSQL gives it.
type Objects interface {
	// ObjectID finds an object by its name, which may be qualified and quoted; ok is false when there is none.
	ObjectID(kind ObjectKind, name string) (id int64, ok bool)
	// ObjectName is the name of an object, quoted where SQL needs it; ok is false when there is none.
	ObjectName(kind ObjectKind, id int64) (name string, ok bool)
	// ObjectDefinition is an object as SQL; ok is false when there is none.
	ObjectDefinition(kind DefinitionKind, id int64) (text string, ok bool)
	// IndexColumn is the name of a column of an index, which counts them from one; ok is false when there is none.
	IndexColumn(id, place int64) (name string, ok bool)
	// ObjectSetting is the value of a setting of the session; ok is false when there is none.
	ObjectSetting(name string) (value string, ok bool)
}

// objectKind is the kind that a type name stands for.
func objectKind(name *parse.TypeName) (kind ObjectKind, ok bool) {
	switch kind := ObjectKind(strings.ToLower(name.Name)); kind {
	case RelationObject, TypeObject, NamespaceObject, RoleObject, FunctionObject:
		return kind, !name.Array
	case "regprocedure", "regoper", "regoperator":
		return FunctionObject, !name.Array
	}
	return "", false
}

// objectExpr is the id of an object, by its name or by the id itself. As a text, and in a result, it is the name: see
// objectName and Displayed.
type objectExpr struct {
	operand Expr
	kind    ObjectKind
	lenient bool // NULL for a name that is none
}

func (e *objectExpr) Type() datum.Type { return datum.Of(datum.BigInt) }
func (e *objectExpr) String() string {
	return string(e.kind) + "(" + e.operand.String() + "," + strconv.FormatBool(e.lenient) + ")"
}
func (e *objectExpr) children() []Expr { return []Expr{e.operand} }
func (e *objectExpr) rebuild(operands []Expr) Expr {
	return &objectExpr{operand: operands[0], kind: e.kind, lenient: e.lenient}
}
func (e *objectExpr) volatility() volatility { return stable }

func (e *objectExpr) Eval(ctx *EvalContext, row []datum.Datum) (datum.Datum, error) {
	value, err := e.operand.Eval(ctx, row)
	if err != nil || value.IsNull() || value.Kind().IsInteger() {
		return value, err
	}
	name := strings.TrimSpace(value.Str())
	if id, failure := strconv.ParseInt(name, 10, 64); failure == nil {
		return datum.NewBigInt(id), nil
	}
	if name == "-" {
		return datum.NewBigInt(0), nil
	}
	if ctx.Env.Objects != nil {
		if id, ok := ctx.Env.Objects.ObjectID(e.kind, name); ok {
			return datum.NewBigInt(id), nil
		}
	}
	if e.lenient {
		return datum.Datum{}, nil
	}
	what := map[ObjectKind]string{
		RelationObject: "relation", TypeObject: "type", NamespaceObject: "schema", RoleObject: "role", FunctionObject: "function",
	}[e.kind]
	return datum.Datum{}, fault.New(fault.InvalidStatement, "%s %q does not exist", what, name)
}

// objectNameExpr is the name of an object.
type objectNameExpr struct{ object *objectExpr }

func (e *objectNameExpr) Type() datum.Type       { return datum.Of(datum.Text) }
func (e *objectNameExpr) String() string         { return e.object.String() + "::text" }
func (e *objectNameExpr) children() []Expr       { return []Expr{e.object} }
func (e *objectNameExpr) volatility() volatility { return stable }
func (e *objectNameExpr) rebuild(operands []Expr) Expr {
	if object, ok := operands[0].(*objectExpr); ok {
		return &objectNameExpr{object: object}
	}
	return &objectNameExpr{object: &objectExpr{operand: operands[0], kind: e.object.kind}}
}

func (e *objectNameExpr) Eval(ctx *EvalContext, row []datum.Datum) (datum.Datum, error) {
	id, err := e.object.Eval(ctx, row)
	if err != nil || id.IsNull() {
		return id, err
	}
	if id.Int() == 0 {
		return datum.NewText("-"), nil
	}
	if ctx.Env.Objects != nil {
		if name, ok := ctx.Env.Objects.ObjectName(e.object.kind, id.Int()); ok {
			return datum.NewText(name), nil
		}
	}
	return datum.NewText(strconv.FormatInt(id.Int(), 10)), nil
}

// Displayed is an expression as a column of a result shows it: an object by its name.
func Displayed(e Expr) Expr {
	if object, ok := e.(*objectExpr); ok {
		return &objectNameExpr{object: object}
	}
	return e
}

// bindObject types a cast to the type of a kind of objects.
func (b *binder) bindObject(n *parse.Cast, kind ObjectKind) (Expr, error) {
	e, err := b.bind(n.Expr)
	if err != nil {
		return nil, err
	}
	return b.object(e, kind, n.Try, n.Expr)
}

func (b *binder) object(e Expr, kind ObjectKind, lenient bool, node parse.Expr) (Expr, error) {
	switch {
	case isUntyped(e) || e.Type().Kind.IsString():
		text, err := b.convert(e, datum.Of(datum.Text), node)
		if err != nil {
			return nil, err
		}
		return &objectExpr{operand: text, kind: kind, lenient: lenient}, nil
	case e.Type().Kind.IsInteger():
		if object, ok := e.(*objectExpr); ok {
			e = object.operand
		}
		id, err := b.convert(e, datum.Of(datum.BigInt), node)
		if err != nil {
			return nil, err
		}
		return &objectExpr{operand: id, kind: kind, lenient: lenient}, nil
	}
	return nil, faultAt(node, fault.InvalidStatement, "cannot convert a value of type %s to %s", e.Type(), kind)
}

// bindTyped binds the calls that depend on the types of their arguments alone, or that give objects.
func (b *binder) bindTyped(name string, operands []Expr, nodes []parse.Expr) (e Expr, done bool, err error) {
	if len(operands) != 1 {
		return nil, false, nil
	}
	switch name {
	case "pg_typeof":
		object, isObject := operands[0].(*objectExpr)
		switch {
		case isObject:
			return NewConst(datum.NewText(string(object.kind)), datum.Of(datum.Text)), true, nil
		case isUntyped(operands[0]):
			return NewConst(datum.NewText("unknown"), datum.Of(datum.Text)), true, nil
		}
		return NewConst(datum.NewText(postgresTypeName(operands[0].Type())), datum.Of(datum.Text)), true, nil
	case "to_regclass", "to_regtype", "to_regnamespace", "to_regrole", "to_regproc":
		e, err = b.object(operands[0], ObjectKind(strings.TrimPrefix(name, "to_")), true, nodes[0])
		return e, true, err
	}
	return nil, false, nil
}

// postgresTypeName spells a type as PostgreSQL does.
func postgresTypeName(t datum.Type) string {
	name := "text"
	switch t.Kind {
	case datum.Boolean:
		name = "boolean"
	case datum.SmallInt:
		name = "smallint"
	case datum.Int:
		name = "integer"
	case datum.BigInt:
		name = "bigint"
	case datum.Float:
		name = "real"
	case datum.Double:
		name = "double precision"
	case datum.Decimal:
		name = "numeric"
	case datum.JSON, datum.File:
		name = "jsonb"
	case datum.Bytes:
		name = "bytea"
	case datum.UUID:
		name = "uuid"
	case datum.Timestamp:
		name = "timestamp without time zone"
	case datum.DateTime:
		name = "timestamp with time zone"
	case datum.Date:
		name = "date"
	case datum.Time:
		name = "time without time zone"
	case datum.Interval:
		name = "interval"
	case datum.Embedding:
		return "real[]"
	case datum.Array:
		return postgresTypeName(datum.Of(t.Elem)) + "[]"
	case datum.Null, datum.Text:
	}
	return name
}
