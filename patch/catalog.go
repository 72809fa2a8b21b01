package patch

import (
	"embed"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"evolution-openai-patch/patch/postgres"
)

//go:embed catalog
var catalog embed.FS

// query is a question to PostgreSQL's catalog about some schemas. No row of anybody's table is read in it, and nothing that the
// owner of a schema wrote is evaluated. Few tables, few functions, few operators: in a fresh session, looking them up takes
// longer than all the rest.
type query struct {
	file   string                     // in the folder catalog, without .sql
	needed func(*Config, *State) bool // whether it is to be asked about a schema
	row    func(*State, []byte) error // takes over a row of the answer, a JSON object
}

// identity is asked first: what there is in the schemas, and what of it can be read.
var identity = []*query{
	{"session", nil, one(func(s *State) *Session { return &s.Session })},
	{"schemas", nil, (*State).schema},
	{"relations", nil, each(func(s *State) *[]Relation { return &s.Relations })},
	{"columns", nil, each(func(s *State) *[]Column { return &s.rows.columns })},
	{"functions", nil, one(func(s *State) **Function { return &s.Function })},
}

// details are asked about what there is.
var details = append([]*query{
	{"indexes", hasTable, each(func(s *State) *[]*Index { return &s.rows.indexes })},
	{"constraints", hasTable, each(func(s *State) *[]Constraint { return &s.rows.constraints })},
	{"triggers", hasTable, each(func(s *State) *[]Trigger { return &s.Triggers })},
	{"rules", func(_ *Config, s *State) bool { return s.Table != nil && s.Table.Rules }, each(func(s *State) *[]Named { return &s.Rules })},
	{"children", func(_ *Config, s *State) bool { return s.Table != nil && s.Table.Children }, each(func(s *State) *[]Named { return &s.Children })},
	{"statistics", func(_ *Config, s *State) bool { return s.Table != nil && s.Table.Owner != s.Role }, each(func(s *State) *[]Named { return &s.Statistics })},
	{"replica", func(c *Config, s *State) bool { return s.Table != nil && c.Fixes.mayPad() }, each(func(s *State) *[]ReplicaSetting { return &s.ReplicaSettings })},
	{"grantees", (*Config).mayCreate, each(func(s *State) *[]Named { return &s.Grantees })},
}, guardQueries...)

// guardQueries are asked about a guard.
var guardQueries = []*query{
	{"guard", hasGuard, one(func(s *State) **Guard { return &s.Guard })},
	{"guard_functions", hasGuard, each(func(s *State) *[]GuardFunction { return &s.rows.guardFunctions })},
}

func hasTable(_ *Config, s *State) bool { return s.Table != nil }

func hasGuard(_ *Config, s *State) bool { return s.Guarded }

// mayCreate reports whether functions or schemas may be created, which default privileges may open to others.
func (c *Config) mayCreate(s *State) bool {
	if s.Table == nil {
		return c.OnMissingTable == MissingGuard
	}
	return c.Fixes.mayPad() && s.Function == nil
}

// one takes over the only row of an answer.
func one[T any](field func(*State) *T) func(*State, []byte) error {
	return func(s *State, row []byte) error { return json.Unmarshal(row, field(s)) }
}

// each takes over every row of an answer.
func each[T any](field func(*State) *[]T) func(*State, []byte) error {
	return func(s *State, row []byte) error {
		var element T
		err := json.Unmarshal(row, &element)
		*field(s) = append(*field(s), element)
		return err
	}
}

// schema takes over the row of the schema itself, or of the one that holds its guard.
func (s *State) schema(row []byte) error {
	var found about
	err := json.Unmarshal(row, &found)
	if found.Schema == s.Schema {
		s.namespace = found.Namespace
	} else {
		s.Guarded = true
	}
	return err
}

// about says which schemas a row concerns. One that says nothing concerns all.
type about struct {
	Schema    string `json:"schema"`    // the name of the schema, or of the one that holds its guard
	Namespace string `json:"namespace"` // the OID of the schema
	Relation  string `json:"relation"`  // the OID of something in it
	Referred  string `json:"referred"`  // the same
}

func (s *State) concerned(a about) bool {
	switch {
	case a.Schema != "":
		return a.Schema == s.Schema || a.Schema == guardName(s.Schema)
	case a.Namespace != "":
		return a.Namespace == s.namespace
	case a.Relation != "":
		return slices.ContainsFunc(s.Relations, func(r Relation) bool { return r.OID == a.Relation || r.OID == a.Referred })
	}
	return true
}

// answer is what the catalog said about one schema.
type answer struct {
	query *query
	rows  []string
}

// ask adds the query about some schemas. The rows are taken over as they arrive.
func (q *query) ask(b *postgres.Batch, states ...*State) {
	for _, s := range states {
		s.answers = append(s.answers, &answer{query: q})
	}
	b.Rows(q.about(states...), func(row []byte) error {
		var concerns about
		if err := json.Unmarshal(row, &concerns); err != nil {
			return fmt.Errorf("read the catalog: %w", err)
		}
		for _, s := range states {
			if !s.concerned(concerns) {
				continue
			}
			for _, a := range s.answersTo(q) {
				a.rows = append(a.rows, string(row))
			}
			if err := q.row(s, row); err != nil {
				return fmt.Errorf("read the catalog: %w", err)
			}
		}
		return nil
	})
}

// answersTo returns the answers to some queries.
func (s *State) answersTo(queries ...*query) (found []*answer) {
	for _, a := range s.answers {
		if slices.Contains(queries, a.query) {
			found = append(found, a)
		}
	}
	return found
}

// requireUnchanged adds statements that fail where the catalog no longer gives these answers. After them, a plan made from s is
// right for as long as the lock is held.
func requireUnchanged(b *postgres.Batch, s State, answers ...*answer) {
	for _, a := range answers {
		b.Exec("SELECT 1 / CASE WHEN coalesce((SELECT pg_catalog.string_agg(answer.row, '\n') FROM (" + a.query.about(&s) + ") AS answer), '') = " +
			postgres.Literal(strings.Join(a.rows, "\n")) + " THEN 1 ELSE 0 END")
	}
}

// changedCode is the SQLSTATE of that failure, division_by_zero. Nothing else in a batch divides.
const changedCode = "22012"

// errSchemaChanged is what the program makes of it.
var errSchemaChanged = &postgres.NotReadyError{Reason: "the schema was changed by somebody else at the same moment"}

// about returns the query about some schemas, with a JSON object in each row. The placeholders have psql's notation for a
// quoted value.
func (q *query) about(states ...*State) string {
	var schemas, guards, tables []string
	for _, s := range states {
		schemas, guards = append(schemas, s.Schema), append(guards, guardName(s.Schema))
		if s.Table != nil {
			tables = append(tables, s.Table.OID)
		}
	}
	names := []string{tableName, migrationsName}
	for _, f := range Fixes {
		if f.Index != "" {
			names = append(names, f.Index)
		}
	}
	return "SELECT pg_catalog.row_to_json(r)::pg_catalog.text AS row FROM (" + strings.NewReplacer(
		":'schemas'", postgres.Array(schemas), ":'guards'", postgres.Array(guards), ":'names'", postgres.Array(names),
		":'tables'", postgres.Array(tables),
	).Replace(q.sql()) + ") AS r"
}

// sql returns the text of the query.
func (q *query) sql() string {
	text, err := catalog.ReadFile("catalog/" + q.file + ".sql")
	if err != nil {
		panic(err) // it is compiled in
	}
	return string(text)
}
