// Package catalog asks PostgreSQL what a schema is like, and fills a plan.State. All questions stand here: those to the catalog
// in catalog.sql, and those to rows, which are asked only where no code of others can run.
package catalog

import (
	"cmp"
	_ "embed"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"evolution-openai-patch/patch/plan"
	"evolution-openai-patch/patch/postgres"
	"evolution-openai-patch/patch/quote"
)

//go:embed catalog.sql
var catalogSQL string

// Scope says what matters of a schema, and what asking may cost others.
type Scope struct {
	Pad    bool // keys may be padded, or the padding reverted
	Backup bool // what there is may be backed up
	Revert bool
	Guard  bool // a guard may be installed where there is no table
	Limits postgres.Limits
}

// Inspection is a State, and how it was read.
type Inspection struct {
	plan.State
	guarded bool      // there is a schema with the name of the guard's
	answers []*answer // from which all this was decoded, to be compared under the lock
	size    int       // of their rows, in bytes
	rows    struct {  // of the answers, before complete has put them where they belong
		schemas        []plan.Named // this one, and that of its guard
		columns        []plan.Column
		collations     []struct{ Collation string } // in which different strings may be equal
		indexes        []*plan.Index
		constraints    []plan.Constraint
		guardFunctions []plan.GuardFunction
	}
}

// query is a question to PostgreSQL's catalog about some schemas.
type query struct {
	name   string                        // in catalog.sql
	needed func(Scope, *Inspection) bool // whether it is to be asked about a schema; nil: always
	field  func(*Inspection) any         // points to where the row goes or, if that is a slice, the rows go
}

// identity is asked first: what there is in the schemas, and what of it can be read.
var identity = []*query{
	{"session", nil, func(s *Inspection) any { return &s.Session }},
	{"schemas", nil, func(s *Inspection) any { return &s.rows.schemas }},
	{"relations", nil, func(s *Inspection) any { return &s.Relations }},
	{"columns", nil, func(s *Inspection) any { return &s.rows.columns }},
	{"functions", Scope.mayMeetPadding, func(s *Inspection) any { return &s.Function }},
}

// details are asked about what there is.
var details = append([]*query{
	{"collations", hasCollation, func(s *Inspection) any { return &s.rows.collations }},
	{"function_use", Scope.mayRevertPadding, func(s *Inspection) any { return &s.Function }},
	elsewhere,
	{"strangers", Scope.mayGuard, func(s *Inspection) any { return &s.Strangers }},
	{"indexes", hasTable, func(s *Inspection) any { return &s.rows.indexes }},
	{"constraints", hasTable, func(s *Inspection) any { return &s.rows.constraints }},
	{"triggers", hasTable, func(s *Inspection) any { return &s.Triggers }},
	{"rules", func(_ Scope, s *Inspection) bool { return s.Table != nil && s.Table.Rules }, func(s *Inspection) any { return &s.Rules }},
	{"children", func(_ Scope, s *Inspection) bool { return s.Table != nil && s.Table.Children }, func(s *Inspection) any { return &s.Children }},
	{"replica", func(c Scope, s *Inspection) bool { return s.Table != nil && c.Pad }, func(s *Inspection) any { return &s.ReplicaSettings }},
	{"grantees", Scope.mayCreate, func(s *Inspection) any { return &s.Grantees }},
	{"event_triggers", Scope.mayMeetEventTriggers, func(s *Inspection) any { return &s.EventTriggers }},
}, guardQueries...)

// elsewhere is asked for a message, on which nothing depends.
var elsewhere = &query{"elsewhere", lacksTable, func(s *Inspection) any { return &s.Elsewhere }}

// code is asked before keys change. It is the most expensive of the questions.
var code = &query{"code", hasTable, func(s *Inspection) any { return &s.Code }}

// guardQueries are asked about a guard.
var guardQueries = []*query{
	{"guard", hasGuard, func(s *Inspection) any { return &s.Guard }},
	{"guard_functions", hasGuard, func(s *Inspection) any { return &s.rows.guardFunctions }},
}

func hasTable(_ Scope, s *Inspection) bool { return s.Table != nil }

func lacksTable(_ Scope, s *Inspection) bool { return s.Table == nil }

func hasGuard(_ Scope, s *Inspection) bool { return s.guarded }

func hasCollation(_ Scope, s *Inspection) bool {
	return s.Table != nil && slices.ContainsFunc(s.Table.Columns, func(c plan.Column) bool {
		return c.Collation != plan.NoCollation && c.Collation != plan.DefaultCollation
	})
}

// mayMeetPadding reports whether the padding may be applied or reverted, or is to stand in a backup.
func (c Scope) mayMeetPadding(*Inspection) bool { return c.Pad || c.Backup }

// mayRevertPadding reports whether a padding that is there may be dropped.
func (c Scope) mayRevertPadding(s *Inspection) bool { return s.Function != nil && c.Revert }

// mayGuard reports whether a guard may be installed.
func (c Scope) mayGuard(s *Inspection) bool { return s.Table == nil && c.Guard }

// mayMeetEventTriggers reports whether something may be executed for which they fire.
func (c Scope) mayMeetEventTriggers(s *Inspection) bool {
	return s.Table != nil || s.guarded || c.mayGuard(s)
}

// mayCreate reports whether functions or schemas may be created, which default privileges may open to others.
func (c Scope) mayCreate(s *Inspection) bool {
	if s.Table == nil {
		return c.mayGuard(s)
	}
	return c.Pad && s.Function == nil
}

// answer is what the catalog said about one schema.
type answer struct {
	query *query
	rows  []string
}

// ask adds those of the queries that are needed about s.
func (c Scope) ask(b *postgres.Batch, queries []*query, s *Inspection) {
	for _, q := range queries {
		if q.needed == nil || q.needed(c, s) {
			q.ask(b, placeholders(&s.State), s)
		}
	}
}

// maxAnswers is the most that the catalog may say about a schema, in bytes. Of Evolution's own it says some 6 kB; the owner of a
// table can make it say any amount.
const maxAnswers = 256 << 10

// ask adds the query, with values for its placeholders. Its rows are taken over as they arrive, but none once they come to more
// than maxAnswers.
func (q *query) ask(b *postgres.Batch, values *strings.Replacer, s *Inspection) {
	a := &answer{query: q}
	s.answers = append(s.answers, a)
	b.Rows(q.with(values), func(row []byte) error {
		if s.size += len(row); s.size > maxAnswers {
			s.Excess = cmp.Or(s.Excess, strings.ReplaceAll(q.name, "_", " "))
			return nil
		}
		a.rows = append(a.rows, string(row))
		if err := decode(row, q.field(s)); err != nil {
			return fmt.Errorf("read the catalog: %w", err)
		}
		return nil
	})
}

// decode decodes a row into what field points to, or into a further element if that is a slice.
func decode(row []byte, field any) error {
	if list := reflect.ValueOf(field).Elem(); list.Kind() == reflect.Slice {
		list.Set(reflect.Append(list, reflect.Zero(list.Type().Elem())))
		field = list.Index(list.Len() - 1).Addr().Interface()
	}
	return json.Unmarshal(row, field)
}

// answersTo returns the answers to some queries.
func (s *Inspection) answersTo(queries ...*query) (found []*answer) {
	for _, a := range s.answers {
		if slices.Contains(queries, a.query) {
			found = append(found, a)
		}
	}
	return found
}

// requireUnchanged requires that the catalog still gives these answers. A plan made from s is then right for as long as the lock
// is held.
func (s *Inspection) requireUnchanged(b *postgres.Batch, answers []*answer) {
	values := placeholders(&s.State)
	for _, a := range answers {
		b.Require("coalesce((SELECT pg_catalog.string_agg(answer.row, '\n') FROM (" + a.query.with(values) + ") AS answer), '') = " +
			quote.Literal(strings.Join(a.rows, "\n")))
	}
}

// RequireUnchanged requires the same of all that was read of the catalog, but for what any other role may change at any time.
func (s *Inspection) RequireUnchanged(b *postgres.Batch) {
	s.requireUnchanged(b, slices.DeleteFunc(slices.Clone(s.answers), func(a *answer) bool { return a.query == elsewhere }))
}

// RequireGuardUnchanged requires the same of the guard.
func (s *Inspection) RequireGuardUnchanged(b *postgres.Batch) {
	s.requireUnchanged(b, s.answersTo(guardQueries...))
}

// AskAgain adds the same questions to a batch that changes the schema, and the count of the keys where they change. The function
// that it returns is to be called when the batch has been sent, and returns the answers.
func (s *Inspection) AskAgain(b *postgres.Batch, keysChange bool) func() (Inspection, error) {
	after := Inspection{State: plan.State{Schema: s.Schema, Table: s.Table, Migrations: s.Migrations, Keys: s.Keys}}
	values := placeholders(&after.State)
	for _, a := range s.answers {
		if a.query != code { // which is about what has been done by now
			a.query.ask(b, values, &after)
		}
	}
	if s.Table == nil && !s.guarded { // of the guard that is created
		for _, q := range guardQueries {
			q.ask(b, values, &after)
		}
	}
	var keys *postgres.Value
	if keysChange {
		keys = countKeys(b, s.State)
	}
	return func() (Inspection, error) {
		after.Replica, after.ReplicaLeft = s.Replica, s.ReplicaLeft // which the change has set for itself
		if keys != nil {
			counted := *s.Keys // with what is not counted again
			after.Keys = &counted
			if err := json.Unmarshal(keys.Bytes(), after.Keys); err != nil {
				return after, fmt.Errorf("count the keys: %w", err)
			}
		}
		return after, after.complete()
	}
}

// ErrSchemaChanged is what the program makes of a requirement that has failed.
var ErrSchemaChanged = &postgres.NotReadyError{Reason: "the schema or its keys were changed by somebody else at the same moment"}

// placeholders returns what replaces the placeholders of catalog.sql, which have psql's notation for a quoted value, in queries
// about s. It replaces all of them at once, as the name of a schema may look like one.
func placeholders(s *plan.State) *strings.Replacer {
	names, tables := []string{plan.TableName, plan.MigrationsName}, []string{}
	for _, f := range plan.Fixes {
		if f.Index != "" {
			names = append(names, f.Index)
		}
	}
	if s.Table != nil {
		tables = append(tables, s.Table.OID)
	}
	return strings.NewReplacer(":'schema'", quote.Literal(s.Schema), ":'guard'", quote.Literal(plan.GuardName(s.Schema)),
		":'names'", quote.Array(names), ":'tables'", quote.Array(tables), ":'body'", quote.Literal(plan.PadBody), ":'settings'", quote.Literal(plan.PadSettings))
}

// with returns the query with a JSON object in each row.
func (q *query) with(values *strings.Replacer) string {
	return "SELECT pg_catalog.row_to_json(r)::pg_catalog.text AS row FROM (" + values.Replace(q.sql()) + ") AS r"
}

// sql returns the text of the query.
func (q *query) sql() string {
	_, text, _ := strings.Cut(catalogSQL, "\n-- name: "+q.name+"\n")
	text, _, _ = strings.Cut(text, "\n-- name: ")
	return text
}
