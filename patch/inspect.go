package patch

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

//go:embed inspect.sql
var inspectSQL string

//go:embed background.sql
var backgroundSQL string

//go:embed padding.sql
var paddingSQL string

// State is what the database says of one schema at one moment.
type State struct {
	Schema    string     `json:"-"`         // the one that was asked for
	Migrating bool       `json:"migrating"` // Prisma's migration lock is held by somebody
	Table     *TableInfo `json:"table"`     // nil if there is none
	Indexes   []Index    `json:"indexes"`   // of the table
	Named     []Relation `json:"named"`     // whatever bears a name that matters here
	Background
	Padding
}

// Background is what background.sql reads.
type Background struct {
	Role       string   `json:"role"` // who is asking
	Superuser  bool     `json:"superuser"`
	Standby    bool     `json:"standby"`
	Columns    []string `json:"columns"` // of the table
	Guard      *Guard   `json:"guard"`   // nil if none is armed
	Migrations struct { // zero if they are unknown
		Last       string `json:"last"`       // time stamp of the last finished one
		Unfinished int    `json:"unfinished"` // begun, neither finished nor rolled back
	} `json:"migrations"`
}

// Padding is what padding.sql reads; all of it is zero if it was not asked for.
type Padding struct {
	Trigger  *Trigger `json:"trigger"`  // ours on the table, nil if there is none
	Function string   `json:"function"` // ours in the schema, "" if there is none
	Keys     *Keys    `json:"keys"`     // nil if they are not readable
}

// TableInfo describes the relation that is called OpenaiCreds.
type TableInfo struct {
	Kind      string `json:"kind"` // pg_class.relkind
	Partition bool   `json:"partition"`
	Owner     string `json:"owner"`
	Mine      bool   `json:"mine"` // the role may alter it
}

// Index describes one index of the table.
type Index struct {
	OID         string       `json:"oid"`
	Name        string       `json:"name"` // qualified and quoted
	Definition  string       `json:"definition"`
	Key         string       `json:"key"` // the first key column or expression, as PostgreSQL prints it
	Keys        int          `json:"keys"`
	Unique      bool         `json:"unique"`
	Primary     bool         `json:"primary"`
	Special     bool         `json:"special"`     // partial, on an expression, or the replica identity
	Constraints []Constraint `json:"constraints"` // the unique constraint that it implements, the foreign keys that need it
}

// Constraint describes one constraint that an index has to do with.
type Constraint struct {
	Name       string `json:"name"`
	Type       string `json:"type"`  // pg_constraint.contype: u or f
	Table      string `json:"table"` // qualified and quoted
	Definition string `json:"definition"`
}

// unique is the unique constraint that the index implements, nil if it is a plain unique index.
func (x Index) unique() *Constraint {
	for i := range x.Constraints {
		if x.Constraints[i].Type == "u" {
			return &x.Constraints[i]
		}
	}
	return nil
}

// dependants are the foreign keys that need the index.
func (x Index) dependants() (found []string) {
	for _, c := range x.Constraints {
		if c.Type == "f" {
			found = append(found, fmt.Sprintf("foreign key %s of table %s", quote(c.Name), c.Table))
		}
	}
	return found
}

// named says whether the index bears this name.
func (s State) named(x Index, name string) bool {
	return slices.ContainsFunc(s.Named, func(r Relation) bool { return r.OID == x.OID && r.Name == name })
}

// Trigger describes the padding trigger with the function behind it.
type Trigger struct {
	Definition string   `json:"definition"`
	Body       string   `json:"body"`
	Settings   []string `json:"settings"` // pg_proc.proconfig
	Works      bool     `json:"works"`    // enabled, and of the kind that plan creates
}

// Keys counts the stored keys.
type Keys struct {
	Bare   int `json:"bare"`   // could end in exactly one space, and do not
	Spaced int `json:"spaced"` // end in a space, or in several
	Full   int `json:"full"`   // are so long that no space fits behind them
	Limit  int `json:"limit"`  // characters that fit into the column
}

// Relation is anything that bears a name of interest.
type Relation struct {
	OID  string `json:"oid"`
	Name string `json:"name"`
	Kind string `json:"kind"` // pg_class.relkind
}

// inspect are the statements that read the State of a schema: with the background or without, with the padding or without.
func inspect(schema string, background, padding bool) []statement {
	names := []string{Table}
	for _, f := range Fixes {
		if f.Index != "" {
			names = append(names, f.Index)
		}
	}
	statements := []statement{{inspectSQL, []string{schema, "{" + strings.Join(names, ",") + "}"}}}
	if background {
		statements = append(statements, statement{backgroundSQL, []string{schema, guardName(schema)}})
	}
	if padding {
		statements = append(statements, statement{paddingSQL, []string{schema}})
	}
	return statements
}

// readState reads what inspect's statements returned.
func readState(schema string, documents [][]byte) (State, error) {
	s := State{Schema: schema}
	for _, d := range documents {
		if d == nil {
			continue
		}
		if err := json.Unmarshal(d, &s); err != nil {
			return s, fmt.Errorf("read the catalog: %w", err)
		}
	}
	for _, x := range s.Indexes {
		if x.Definition == "" { // what prints it sees the present, not the snapshot
			return s, &notReadyError{why: "an index was dropped while it was looked at"}
		}
	}
	slices.SortFunc(s.Indexes, func(a, b Index) int { return strings.Compare(a.Name, b.Name) })
	return s, nil
}

// elsewhere is the statement that finds the other schemas that hold Evolution's table.
var elsewhere = statement{sql: `SELECT pg_catalog.json_agg(c.relnamespace::pg_catalog.regnamespace ORDER BY 1)::pg_catalog.text
	FROM pg_catalog.pg_class c WHERE c.relname = '` + Table + `' AND c.relkind = 'r'`}
