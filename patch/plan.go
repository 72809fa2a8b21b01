package patch

import (
	"fmt"
	"slices"
	"strings"
)

// Goal is the direction of a plan.
type Goal int

// The goals.
const (
	Apply  Goal = iota // the fixes hold
	Revert             // what Evolution's migrations made is back
)

// Plan is what leads from a State to what was asked for.
type Plan struct {
	SQL   []string          // DDL, in order; empty: nothing to do
	Found map[string]string // the fix's name → what there is of it, for people
	Open  map[string]bool   // the fix's name → whether it is not in place
	Rows  int               // rows that the SQL changes
}

// wish is what is asked of plan.
type wish struct {
	schema    string
	fixes     []Fix
	goal      Goal
	keepNames bool // leave a plain index under a dropped one's name
	guarded   bool // where there is no table yet, arm the guard
}

// plan composes the DDL that fulfils the wish. It is pure: the same State gives the same Plan, and on the State that a
// Plan leads to, the next Plan is empty. The error is a *RefusedError.
func plan(w wish, s State) (Plan, error) {
	p := Plan{Found: map[string]string{}, Open: map[string]bool{}}
	p.guard(w, s)
	if s.Table == nil {
		return p, nil
	}
	if err := known(s); err != nil {
		return p, err
	}
	for _, f := range w.fixes {
		step := p.index
		if f.Pad {
			step = p.padding
		}
		if err := step(f, w, s); err != nil {
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

// index plans for the unique indexes and unique constraints whose only key column is f.Column: that there is none, or
// that Evolution's is there again.
func (p *Plan) index(f Fix, w wish, s State) error {
	table := qualified(s.Schema, Table)
	if !slices.Contains(s.Columns, f.Column) {
		return refuse("%s has no column %s", table, quote(f.Column))
	}
	var unique []Index
	standIn := false // a plain index bears the name
	for _, x := range s.Indexes {
		covers := x.Keys == 1 && mentions(x.Key, f.Column)
		named := s.named(x, f.Index)
		switch {
		case x.Primary && covers:
			return refuse("%s is the primary key of %s", x.Name, table)
		case x.Unique && covers && x.Special:
			return refuse("the unique index %s is not as Evolution creates it, so somebody made it on purpose: %s", x.Name, x.Definition)
		case x.Unique && covers && len(x.dependants()) > 0:
			return refuse("%s is needed by %s", x.Name, strings.Join(x.dependants(), ", "))
		case x.Unique && covers:
			unique = append(unique, x)
		case named && (x.Unique || !covers || x.Special):
			return refuse("an index %s exists, but it is something else: %s", x.Name, x.Definition)
		case named:
			standIn = true
		}
		if covers {
			p.Found[f.Name] = strings.TrimPrefix(p.Found[f.Name]+"; "+x.Definition, "; ")
		}
	}
	for _, r := range s.Named {
		if r.Name == f.Index && !slices.ContainsFunc(s.Indexes, func(x Index) bool { return x.OID == r.OID }) {
			return refuse("%s exists, but as a different thing than an index of %s: a %s", qualified(s.Schema, r.Name), table, kinds[r.Kind])
		}
	}
	if p.Found[f.Name] == "" {
		p.Found[f.Name] = "no index on " + quote(f.Column)
	}
	p.Open[f.Name] = len(unique) > 0

	on := fmt.Sprintf("INDEX %s ON %s (%s)", quote(f.Index), table, quote(f.Column))
	if w.goal == Revert {
		if standIn {
			p.add("DROP INDEX IF EXISTS %s", qualified(s.Schema, f.Index))
		}
		if len(unique) == 0 {
			p.add("CREATE UNIQUE %s", on)
		}
		return nil
	}
	for _, x := range unique {
		if c := x.unique(); c != nil {
			p.add("ALTER TABLE %s DROP CONSTRAINT IF EXISTS %s", table, quote(c.Name))
		} else {
			p.add("DROP INDEX IF EXISTS %s", x.Name)
		}
	}
	// Where a release of Evolution that is not known yet has dropped its index, a later one may want the name.
	if w.keepNames && !standIn && (len(unique) > 0 || !beyondKnown(s.Migrations.Last)) {
		p.add("CREATE %s", on)
		p.Open[f.Name] = true
	}
	return nil
}

// ours is the name of the padding trigger and of its function.
const ours = "evolution_openai_patch"

// padBody must never fail a statement of Evolution's, whatever later migrations make of the column: hence no column list
// on the trigger, and every error swallowed.
const padBody = `BEGIN NEW."apiKey" := rtrim(NEW."apiKey", ' ') || ' '; RETURN NEW; EXCEPTION WHEN OTHERS THEN RETURN NEW; END`

// padSettings is the function's proconfig.
const padSettings = "search_path=pg_catalog, pg_temp"

// padding plans for every stored key to end in exactly one space, now and in future, or for all of that to be undone.
func (p *Plan) padding(f Fix, w wish, s State) error {
	table, function, column := qualified(s.Schema, Table), qualified(s.Schema, ours)+"()", quote(f.Column)
	patched := s.Trigger != nil || s.Function != ""
	works := s.Trigger != nil && s.Trigger.Works && s.Trigger.Body == padBody && slices.Equal(s.Trigger.Settings, []string{padSettings})
	keys := s.Keys
	if keys == nil {
		keys = &Keys{}
	}
	p.Found[f.Name] = "no padding trigger"
	if s.Trigger != nil {
		p.Found[f.Name] = s.Trigger.Definition
	}
	if keys.Bare > 0 {
		p.Found[f.Name] += fmt.Sprintf("; keys without the space: %d", keys.Bare)
	}
	p.Open[f.Name] = !works || keys.Bare > 0

	if w.goal == Revert {
		if patched {
			p.add("DROP TRIGGER IF EXISTS %s ON %s", ours, table)
			p.add("DROP FUNCTION IF EXISTS %s", function)
			p.add("UPDATE %s SET %s = left(%s, -1) WHERE %s LIKE '%% '", table, column, column, column)
			p.Rows += keys.Spaced
		}
		return nil
	}
	if !patched && keys.Spaced > 0 {
		return refuse(`%d of the stored keys end in a space already, which could not be told from the padding later; to take the spaces away: UPDATE %s SET %s = rtrim(%s, ' ')`,
			keys.Spaced, table, column, column)
	}
	if keys.Bare > 0 {
		p.add("UPDATE %s SET %s = rtrim(%s, ' ') || ' ' WHERE %s <> rtrim(%s, ' ') || ' ' AND length(rtrim(%s, ' ')) < %d",
			table, column, column, column, column, column, keys.Limit)
		p.Rows += keys.Bare
	}
	if !works {
		p.add("CREATE OR REPLACE FUNCTION %s RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$%s$$", function, padBody)
		if s.Superuser && s.Role != s.Table.Owner { // so that the owner can take it away again
			p.add("ALTER FUNCTION %s OWNER TO %s", function, quote(s.Table.Owner))
		}
		p.add("DROP TRIGGER IF EXISTS %s ON %s", ours, table)
		p.add("CREATE TRIGGER %s BEFORE INSERT OR UPDATE ON %s FOR EACH ROW EXECUTE FUNCTION %s", ours, table, function)
	}
	return nil
}

func (p *Plan) add(format string, args ...any) {
	p.SQL = append(p.SQL, fmt.Sprintf(format, args...))
}

// mentions finds a column in an index's key as PostgreSQL prints it: the column, or an expression.
func mentions(expression, column string) bool {
	words := strings.FieldsFunc(expression, func(r rune) bool { return strings.ContainsRune(` "().,:[]`, r) })
	return slices.Contains(words, column)
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
