package patch

import (
	"fmt"
	"slices"
	"strings"
)

// Plan is what leads from a State to what was asked for.
type Plan struct {
	SQL  []string          // DDL, in order; empty: nothing to do
	Open map[string]string // what is not in place: the fix's name → what was found
}

// plan composes the DDL that puts the wanted fixes in place. It is pure: the same State gives the same Plan, and on the
// State that a Plan leads to, the next Plan is empty. The error is a *RefusedError.
func plan(want []Fix, s State) (Plan, error) {
	p := Plan{Open: map[string]string{}}
	if err := known(s); err != nil {
		return p, err
	}
	for _, f := range want {
		if err := p.dropUnique(f, s); err != nil {
			return p, err
		}
	}
	return p, nil
}

// kinds spells out pg_class.relkind (PostgreSQL documentation, system catalog pg_class).
var kinds = map[string]string{
	"r": "table", "i": "index", "S": "sequence", "v": "view", "m": "materialized view", "c": "composite type",
	"f": "foreign table", "p": "partitioned table", "I": "partitioned index",
}

// known refuses a table that is none of Evolution's making.
func known(s State) error {
	switch {
	case s.Table.Kind != "r":
		return refuse("%s is a %s, which Evolution never creates", qualified(s.Schema, Table), kinds[s.Table.Kind])
	case s.Table.Partition:
		return refuse("%s is a partition of another table, which Evolution never creates", qualified(s.Schema, Table))
	}
	return nil
}

// dropUnique plans the end of every unique index and unique constraint whose only key column is f.Column.
func (p *Plan) dropUnique(f Fix, s State) error {
	table := qualified(s.Schema, Table)
	if !slices.Contains(s.Table.Columns, f.Column) {
		return refuse("%s has no column %s", table, quote(f.Column))
	}
	for _, x := range s.Indexes {
		covers := x.Keys == 1 && (x.Key == f.Column || x.Key == "" && mentions(x.Expression, f.Column))
		switch {
		case x.Primary && covers:
			return refuse("%s is the primary key of %s", quote(x.Name), table)
		case !x.Unique || !covers:
			if x.Name == f.Index && (x.Unique || !covers || x.Special) {
				return refuse("an index %s exists, but it is something else: %s", quote(x.Name), x.Definition)
			}
		case x.Special:
			return refuse("the unique index %s is not as Evolution creates it, so somebody made it on purpose: %s",
				quote(x.Name), x.Definition)
		case len(x.Dependants) > 0:
			return refuse("%s is needed by %s", quote(x.Name), strings.Join(x.Dependants, ", "))
		case x.Constraint != "":
			p.add(f, x.Definition, "ALTER TABLE %s DROP CONSTRAINT IF EXISTS %s", table, quote(x.Constraint))
		default:
			p.add(f, x.Definition, "DROP INDEX IF EXISTS %s", qualified(s.Schema, x.Name))
		}
	}
	for _, r := range s.Named {
		if r.Name == f.Index && !slices.ContainsFunc(s.Indexes, func(x Index) bool { return x.Name == r.Name }) {
			return refuse("%s exists, but as a different thing than an index of %s: a %s", qualified(s.Schema, r.Name), table, kinds[r.Kind])
		}
	}
	return nil
}

// mentions finds a column in an expression as PostgreSQL prints it.
func mentions(expression, column string) bool {
	words := strings.FieldsFunc(expression, func(r rune) bool { return strings.ContainsRune(` "().,:[]`, r) })
	return slices.Contains(words, column)
}

func (p *Plan) add(f Fix, found, format string, identifiers ...any) {
	p.SQL = append(p.SQL, fmt.Sprintf(format, identifiers...))
	p.Open[f.Name] = found
}

// quote makes an SQL identifier of a name.
func quote(name string) string {
	return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
}

func qualified(schema, name string) string {
	return quote(schema) + "." + quote(name)
}

// RefusedError says that the schema is not what this program knows. Nothing was changed.
type RefusedError struct{ reason string }

func (e *RefusedError) Error() string {
	return "refused, and nothing was changed: " + e.reason
}

func refuse(format string, args ...any) error {
	return &RefusedError{fmt.Sprintf(format, args...)}
}
