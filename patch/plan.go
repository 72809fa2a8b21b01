package patch

import (
	"encoding/json"
	"fmt"
	"maps"
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
	SQL       []string          // DDL, in order; empty: nothing to do
	Found     map[string]string // the fix's name → what there is of it, for people
	Open      map[string]bool   // the fix's name → whether it is not in place
	Rows      int               // rows that the SQL changes
	Pin       bool              // the SQL is safe only as long as nobody renames the schema
	Unguarded string            // why no guard can be armed, "" if one can or need not be
	Rearmed   string            // what the guard that is there was armed for, and what for now
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

// lacks says that nothing unique is left on the column of a fix.
func (s State) lacks(f Fix) bool {
	return s.Table != nil && s.Table.column(f.Column) != nil && !slices.ContainsFunc(s.Indexes, func(x Index) bool {
		return x.Unique && x.Keys == 1 && mentions(x.Key, f.Column)
	})
}

// notYet says that Evolution's migrations have not come to the column of a fix.
func (s State) notYet(f Fix) bool {
	return s.Table != nil && s.Table.column(f.Column) == nil && s.Migrations.Last != "" && s.Migrations.Last < f.Since
}

// index plans for the unique indexes and unique constraints whose only key column is f.Column: that there is none, or
// that Evolution's is there again.
func (p *Plan) index(f Fix, w wish, s State) error {
	table := qualified(s.Schema, Table)
	if s.notYet(f) {
		p.Found[f.Name] = "no column " + quote(f.Column) + " yet"
		return nil
	}
	if s.Table.column(f.Column) == nil {
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
		case x.Unique && covers && x.Identity:
			return refuse("the unique index %s is the replica identity of %s, which logical replication needs: %s", x.Name, table, x.Definition)
		case x.Unique && covers && x.special():
			return refuse("the unique index %s is not as Evolution creates it, so somebody made it on purpose: %s", x.Name, x.Definition)
		case x.constraint("x") != nil && mentions(x.Definition, f.Column):
			return refuse("the exclusion constraint %s of %s is not as Evolution creates it, so somebody made it on purpose: %s",
				quote(x.constraint("x").Name), table, x.constraint("x").Definition)
		case x.Unique && (x.alone(s.Table.column(f.Column)) || x.Expressions && mentions(x.Definition, "*")): // of the whole row
			return refuse("the unique index %s may forbid a second row with the same %s, and is not as Evolution creates it: %s", x.Name, quote(f.Column), x.Definition)
		case x.Unique && covers && len(x.dependants()) > 0:
			return refuse("%s is needed by %s", x.Name, strings.Join(x.dependants(), ", "))
		case x.Unique && covers:
			unique = append(unique, x)
		case named && (x.Unique || !covers || x.special()):
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
	if w.keepNames && !standIn && len(unique) == 0 {
		p.Found[f.Name] += "; no plain index under the name " + f.Index
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
		if c := x.constraint("u"); c != nil {
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

// objectName is the name of the padding trigger and of its function.
const objectName = "evolution_openai_patch"

// padBody must never fail a statement of Evolution's, whatever later migrations make of the column: hence no column list
// on the trigger, and every error swallowed.
const padBody = `BEGIN NEW."apiKey" := rtrim(NEW."apiKey", ' ') || ' '; RETURN NEW; EXCEPTION WHEN OTHERS THEN RETURN NEW; END`

// padSettings is the function's proconfig.
var padSettings = []string{"search_path=pg_catalog, pg_temp"}

// createPadFunction and createPadTrigger make the padding.
func createPadFunction(schema string) string {
	return fmt.Sprintf("CREATE FUNCTION %s() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS %s", qualified(schema, objectName), literal(padBody))
}

func createPadTrigger(schema string) string {
	return fmt.Sprintf("CREATE TRIGGER %s BEFORE INSERT OR UPDATE ON %s FOR EACH ROW EXECUTE FUNCTION %s()", objectName, qualified(schema, Table), qualified(schema, objectName))
}

// padTrigger is the trigger of our name, nil if there is none.
func (s State) padTrigger() *Trigger {
	for i := range s.Triggers {
		if s.Triggers[i].Name == objectName {
			return &s.Triggers[i]
		}
	}
	return nil
}

// foreignPadding refuses a function or trigger of our name that is not exactly as plan creates it. Whoever owns the function
// decides what runs in every INSERT, so it has to be somebody who can do whatever the owner of the table can.
func (s State) foreignPadding() error {
	f, t := s.Function, s.padTrigger()
	function, table := qualified(s.Schema, objectName)+"()", qualified(s.Schema, Table)
	switch {
	case f != nil && !f.Trusted:
		return refuse("function %s belongs to role %s, which is not %s, the owner of table %s; if nobody needs it, let its owner drop it", function, quote(f.Owner), quote(s.Table.Owner), table)
	case f != nil && (!f.Plain || f.Body != padBody || !sameSettings(f.Settings, padSettings)):
		return refuse("function %s, owned by %s, is not as this program creates it; if nobody needs it: DROP FUNCTION %s CASCADE", function, quote(f.Owner), function)
	case t != nil && (f == nil || t.Function != f.OID || !t.Plain || t.Type != triggerRow|triggerBefore|triggerInsert|triggerUpdate):
		return refuse("trigger %s of table %s is not as this program creates it; if nobody needs it: DROP TRIGGER %s ON %s", quote(t.Name), table, t.Name, table)
	}
	return nil
}

// codeOfOwner names what the owner of the table wrote that would run in an UPDATE of it, with the rights of whoever updates,
// or be evaluated while that is planned.
func (s State) codeOfOwner() (found []string) {
	for _, t := range s.Triggers {
		if t.Name != objectName && t.Type&triggerUpdate != 0 && t.Enabled != "D" {
			found = append(found, "trigger "+quote(t.Name))
		}
	}
	for _, r := range s.Rules {
		found = append(found, "rule "+quote(r))
	}
	for _, c := range s.Checks {
		found = append(found, "CHECK constraint "+quote(c.Name))
	}
	for _, c := range s.Table.Columns {
		if c.Generated {
			found = append(found, "generated column "+quote(c.Name))
		}
		if !c.BuiltIn { // an index on it, or a foreign key, calls functions of the type's
			found = append(found, fmt.Sprintf("column %s of type %s", quote(c.Name), c.Type))
		}
	}
	for _, x := range s.Indexes {
		if x.Expressions || x.Partial {
			found = append(found, "index "+x.Name)
		}
	}
	for _, k := range s.ForeignKeys {
		found = append(found, "foreign key "+k)
	}
	for _, e := range s.Statistics {
		found = append(found, "statistics "+quote(e))
	}
	return found
}

// padding plans for every stored key to end in exactly one space, now and in future, or for all of that to be undone.
func (p *Plan) padding(f Fix, w wish, s State) error {
	table, function, column := qualified(s.Schema, Table), qualified(s.Schema, objectName)+"()", quote(f.Column)
	if err := s.foreignPadding(); err != nil {
		return err
	}
	trigger, keys := s.padTrigger(), s.Keys
	p.Found[f.Name] = "no padding trigger"
	if trigger != nil {
		p.Found[f.Name] = trigger.Definition
	}
	if w.goal == Revert && trigger == nil && s.Function == nil {
		p.Open[f.Name] = true
		return nil
	}
	if err := s.canPad(f); err != nil {
		return err
	}
	if keys.Bare > 0 {
		p.Found[f.Name] += fmt.Sprintf("; keys without the space: %d", keys.Bare)
	}
	before := len(p.SQL)
	if trigger != nil && (w.goal == Revert || keys.Bare > 0 || !trigger.fires()) {
		p.add("DROP TRIGGER %s ON %s", objectName, table) // its function is its owner's to replace, so it is not to run here
	}
	if w.goal == Revert {
		p.Open[f.Name] = true
		if s.Function != nil {
			if len(s.Function.Users) > 0 {
				return refuse("function %s is used by others: %s; drop them first", function, strings.Join(s.Function.Users, ", "))
			}
			p.add("DROP FUNCTION %s", function)
		}
		if keys.Spaced > 0 {
			p.add("UPDATE ONLY %s SET %s = left(%s, -1) WHERE %s LIKE '%% '", table, column, column, column)
			p.Rows += keys.Spaced
			if kept := s.Function.spaces(); len(kept) > 0 {
				p.add("UPDATE ONLY %s AS t SET %s = rtrim(t.%s, ' ') || repeat(' ', kept.spaces) FROM (VALUES %s) AS kept(id, spaces) WHERE t.id = kept.id", table, column, column, spaceList(kept))
			}
		}
		return p.checkRights(s, before)
	}
	if keys.Bare > 0 {
		fits := ""
		if limit := s.Table.column(f.Column).Limit; limit > 0 {
			fits = fmt.Sprintf(" AND length(rtrim(%s, ' ')) < %d", column, limit)
		}
		p.add("UPDATE ONLY %s SET %s = rtrim(%s, ' ') || ' ' WHERE %s <> rtrim(%s, ' ') || ' '%s", table, column, column, column, column, fits)
		p.Rows += keys.Bare
	}
	if s.Function == nil {
		p.add("%s", createPadFunction(s.Schema))
		p.add("REVOKE ALL ON FUNCTION %s FROM %s", function, grantees(s))
		if len(keys.Spaces) > 0 { // a dump carries it
			note, _ := json.Marshal(keptSpaces{keys.Spaces}) // of strings and numbers
			p.add("COMMENT ON FUNCTION %s IS %s", function, literal(string(note)))
		}
		if s.Role != s.Table.Owner { // so that the owner can take it away again
			p.add("ALTER FUNCTION %s OWNER TO %s", function, quote(s.Table.Owner))
		}
	}
	if len(p.SQL) > before || trigger == nil {
		p.add("%s", createPadTrigger(s.Schema))
	}
	p.Open[f.Name] = len(p.SQL) > before
	if err := p.checkRights(s, before); err != nil {
		return err
	}
	return s.mayUndo(f)
}

// keptSpaces is the comment on the padding function: how many spaces the keys ended in that ended in some before the
// padding, by the credential's id, so that a revert gives each back as it was.
type keptSpaces struct {
	Spaces map[string]int `json:"spaces"`
}

// spaces reads the comment; nil if it is not ours.
func (f *Function) spaces() map[string]int {
	var kept keptSpaces
	if f == nil || json.Unmarshal([]byte(f.Comment), &kept) != nil {
		return nil
	}
	maps.DeleteFunc(kept.Spaces, func(_ string, n int) bool { return n < 1 || n > 1<<20 })
	return kept.Spaces
}

// spaceList is such a map as the rows of VALUES.
func spaceList(spaces map[string]int) string {
	var rows []string
	for _, id := range slices.Sorted(maps.Keys(spaces)) {
		rows = append(rows, fmt.Sprintf("(%s, %d)", literal(id), spaces[id]))
	}
	return strings.Join(rows, ", ")
}

// canPad refuses a column in which a space behind a key means something else, cannot be had, or cannot be seen.
func (s State) canPad(f Fix) error {
	table, c := qualified(s.Schema, Table), s.Table.column(f.Column)
	switch {
	case c == nil:
		return refuse("%s has no column %s", table, quote(f.Column))
	case !c.Text:
		return refuse("column %s of %s is of type %s, and not text or varchar", quote(f.Column), table, c.Type)
	case c.Generated:
		return refuse("column %s of %s is generated", quote(f.Column), table)
	case s.Nondeterministic:
		return refuse("column %s of %s has a nondeterministic collation, in which a space may not count", quote(f.Column), table)
	case len(s.Children) > 0:
		return refuse("other tables inherit from %s, which belongs to %s: %s", table, quote(s.Table.Owner), strings.Join(s.Children, ", "))
	case s.Table.Hidden:
		return refuse("row security hides rows of %s from role %s; connect as a superuser, or as an owner to whom it does not apply", table, quote(s.Role))
	case s.Keys == nil:
		return fmt.Errorf("role %s may not read table %s, so whether its keys end in a space is not known: connect as its owner, %s",
			quote(s.Role), table, quote(s.Table.Owner))
	}
	return nil
}

// mayUndo refuses a table of which something of somebody's may forbid the space or take it away again.
func (s State) mayUndo(f Fix) error {
	table, c := qualified(s.Schema, Table), s.Table.column(f.Column)
	for _, k := range s.Checks {
		// A key that is stored with the space, or is to be in the same transaction, proves that it may be.
		if slices.Contains(k.Columns, c.Number) && s.Keys.Bare+s.Keys.Spaced == 0 {
			return refuse("the CHECK constraint %s of %s may forbid the space: %s", quote(k.Name), table, k.Definition)
		}
	}
	if len(s.Replica) > 0 {
		return refuse("session_replication_role is replica for %s, so no trigger would pad the keys stored from there: ALTER … RESET session_replication_role", strings.Join(s.Replica, ", "))
	}
	for _, t := range s.Triggers {
		if t.Name > objectName && t.Type&(triggerRow|triggerBefore|triggerInsert) == triggerRow|triggerBefore|triggerInsert && t.Enabled != "D" {
			return refuse("trigger %s of %s runs after the padding and may take the space away: %s", quote(t.Name), table, t.Definition)
		}
	}
	return nil
}

// checkRights refuses to change rows, or a trigger, of a table in which code of its owner would run with the rights of
// another role, if the statements after the first so many do that. SECURITY.md tells why no milder way is safe.
func (p *Plan) checkRights(s State, before int) error {
	if len(p.SQL) == before || s.Role == s.Table.Owner {
		return nil
	}
	p.Pin = s.Superuser
	if found := s.codeOfOwner(); len(found) > 0 {
		return refuse("in a change to %s, code of its owner %s would run with the rights of %s: %s; connect as %s",
			qualified(s.Schema, Table), quote(s.Table.Owner), quote(s.Role), strings.Join(found, ", "), quote(s.Table.Owner))
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

// quoteAll is a list of identifiers.
func quoteAll(names []string) string {
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = quote(n)
	}
	return strings.Join(quoted, ", ")
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
