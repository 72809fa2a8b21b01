package patch

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"strings"
)

//go:embed inspect.sql
var inspectSQL string

// State is what the catalog says of one schema at one moment.
type State struct {
	Server    string     `json:"server"` // the server's version
	Role      string     `json:"role"`   // who is asking
	Standby   bool       `json:"standby"`
	Migrating bool       `json:"migrating"` // Prisma's migration lock is held by somebody
	Schema    string     `json:"schema"`    // as the catalog spells it, "" if there is no such schema
	Elsewhere []string   `json:"elsewhere"` // other schemas that hold Evolution's table
	Migration string     `json:"migration"` // the last finished migration, "" if unknown
	Table     *TableInfo `json:"table"`     // nil if there is none
	Indexes   []Index    `json:"indexes"`   // of the table
	Named     []Relation `json:"named"`     // whatever bears the name of one of Evolution's indexes
}

// TableInfo describes the relation that is called OpenaiCreds.
type TableInfo struct {
	Kind      string   `json:"kind"` // pg_class.relkind
	Partition bool     `json:"partition"`
	Owner     string   `json:"owner"`
	Mine      bool     `json:"mine"` // the role may alter it
	Columns   []string `json:"columns"`
}

// Index describes one index of the table.
type Index struct {
	Name       string   `json:"name"`
	Definition string   `json:"definition"`
	Unique     bool     `json:"unique"`
	Primary    bool     `json:"primary"`
	Valid      bool     `json:"valid"`
	Keys       int      `json:"keys"`       // number of key columns
	Key        string   `json:"key"`        // the first key column, "" if it is an expression
	Columns    []string `json:"columns"`    // every column that the definition speaks of
	Special    bool     `json:"special"`    // partial, on an expression, part of a partitioned index, or the replica identity
	Constraint string   `json:"constraint"` // the constraint that it implements, "" if none
	Dependants []string `json:"dependants"` // what would break without it, as PostgreSQL describes it
}

// Relation is anything that bears a name of interest.
type Relation struct {
	Name string `json:"name"`
	What string `json:"what"` // as PostgreSQL describes it
}

// inspect is the statement that reads the State of a schema.
func inspect(schema string) statement {
	var names []string
	for _, f := range Fixes {
		names = append(names, f.Index)
	}
	return statement{sql: inspectSQL, args: []string{schema, "{" + strings.Join(names, ",") + "}"}}
}

func readState(document []byte) (State, error) {
	var s State
	if err := json.Unmarshal(document, &s); err != nil {
		return s, fmt.Errorf("read the catalog: %w", err)
	}
	return s, nil
}
