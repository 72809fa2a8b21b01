package patch

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

//go:embed inspect.sql
var inspectSQL string

// State is what the catalog says of one schema at one moment.
type State struct {
	Role      string     `json:"role"` // who is asking
	Standby   bool       `json:"standby"`
	Migrating bool       `json:"migrating"` // Prisma's migration lock is held by somebody
	Schema    string     `json:"schema"`    // as the catalog spells it, "" if there is no such schema
	Elsewhere []string   `json:"elsewhere"` // other schemas that hold Evolution's table
	Guard     *Guard     `json:"guard"`     // nil if none is armed
	Table     *TableInfo `json:"table"`     // nil if there is none
	Indexes   []Index    `json:"indexes"`   // of the table
	Trigger   *Trigger   `json:"trigger"`   // ours on the table, nil if there is none
	Function  string     `json:"function"`  // ours in the schema, "" if there is none
	// Migrations is zero if they are unknown or were not asked for.
	Migrations struct {
		Last       string `json:"last"`       // the last finished one
		Unfinished int    `json:"unfinished"` // begun, neither finished nor rolled back
	} `json:"migrations"`
	Keys  *Keys      `json:"keys"`  // nil if not asked for, or not readable
	Named []Relation `json:"named"` // whatever bears the name of one of Evolution's indexes
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
	Name       string    `json:"name"`
	Definition string    `json:"definition"`
	Unique     bool      `json:"unique"`
	Primary    bool      `json:"primary"`
	Valid      bool      `json:"valid"`
	Keys       int       `json:"keys"`       // number of key columns
	Key        string    `json:"key"`        // the first key column, "" if it is an expression
	Special    bool      `json:"special"`    // partial, on an expression, part of a partitioned index, or the replica identity
	Expression string    `json:"expression"` // what its first key column is instead of a column, "" if it is one
	Constraint *struct { // that it implements, nil if none
		Name       string `json:"name"`
		Definition string `json:"definition"`
	} `json:"constraint"`
	Dependants []string `json:"dependants"` // the foreign keys that need it
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
	Name string `json:"name"`
	Kind string `json:"kind"` // pg_class.relkind
}

// inspect is the statement that reads the State of a schema: with the migrations or without, the keys counted or not.
func inspect(schema string, migrations, keys bool) statement {
	var names []string
	for _, f := range Fixes {
		if f.Index != "" {
			names = append(names, f.Index)
		}
	}
	return statement{sql: inspectSQL, args: []string{
		schema, "{" + strings.Join(names, ",") + "}", strconv.FormatBool(migrations), strconv.FormatBool(keys), guardName(schema),
	}}
}

func readState(document []byte) (State, error) {
	var s State
	if err := json.Unmarshal(document, &s); err != nil {
		return s, fmt.Errorf("read the catalog: %w", err)
	}
	slices.Sort(s.Elsewhere)
	slices.SortFunc(s.Indexes, func(a, b Index) int { return strings.Compare(a.Name, b.Name) })
	return s, nil
}
