package plan

import (
	"fmt"
	"slices"
	"strings"

	"evolution-openai-patch/patch/quote"
)

// Credential is what is printed of a row of Evolution's table, and of the value that it shares with others.
type Credential struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	Instance string `json:"instance"` // its name, or its id where that cannot be read
	Value    string `json:"value"`    // as it may be printed
	Group    int    `json:"group"`    // the number of the value
	Size     int    `json:"size"`     // how many credentials share the value
	Groups   int    `json:"groups"`   // how many values are shared
	Column   string `json:"-"`        // of the value
}

// The most that is listed of what credentials share.
const (
	MaxGroups  = 100
	MaxMembers = 20
)

// Duplicates returns the refusal to create the unique indexes of fixes over rows that share a value. It lists the rows, and
// holds the SQL that makes the values differ.
func Duplicates(fixes []Fix, auto bool, s State, credentials []Credential) *RefusedError {
	needs, hint, listed := "", "", "" // nothing is listed if the rows could not be read
	var unneeded []string
	for _, f := range fixes {
		if !f.Auto { // with auto, it is selected because its index is gone
			unneeded = append(unneeded, f.Column)
		}
		if f.Secret {
			needs = ". Then each of their instances needs a key of its own: in Evolution, create a credential with another key, choose it in the bots and default settings, and only then delete the old one"
		}
	}
	if auto && len(unneeded) > 0 {
		hint = ". If the index on " + quote.Identifiers(unneeded) + " was gone before this program ran, set PATCH_FIXES to the other fixes"
	}
	if len(credentials) > 0 {
		listed = ". The groups: " + strings.Join(listGroups(credentials), "; ")
	}
	return &RefusedError{
		Reason: "the unique index cannot come back while credentials share a value. The remedy leaves it to the first of each group and changes the others: run it in psql (docker compose exec -it postgres psql -U USER DB)" +
			needs + hint + listed,
		Remedy: distinctSQL(fixes, s),
	}
}

// maxListed is the length from which on no further group or member is listed, in bytes, as a line of the report is limited.
const maxListed = 2000

// listGroups describes the groups of credentials that share a value, which follow one another.
func listGroups(credentials []Credential) (groups []string) {
	length, left, column := 0, 0, ""
	for len(credentials) > 0 {
		c := credentials[0]
		size := slices.IndexFunc(credentials, func(o Credential) bool { return o.Column != c.Column || o.Group != c.Group })
		if size < 0 {
			size = len(credentials)
		}
		if c.Column != column {
			left, column = left+c.Groups, c.Column
		}
		if length <= maxListed {
			group := describeGroup(credentials[:size])
			groups, length, left = append(groups, group), length+len(group), left-1
		}
		credentials = credentials[size:]
	}
	if left > 0 {
		groups = append(groups, fmt.Sprintf("and %d groups more", left))
	}
	return groups
}

// describeGroup describes the credentials that share one value, which the first of them keeps.
func describeGroup(group []Credential) string {
	var members []string
	for length := 0; len(members) < len(group) && length <= maxListed; {
		m := group[len(members)]
		members = append(members, fmt.Sprintf("%s (%s) of instance %s", m.ID, m.Name, m.Instance))
		length += len(members[len(members)-1])
	}
	changed := members[1:]
	if more := group[0].Size - len(members); more > 0 {
		changed = append(changed, fmt.Sprintf("%d more", more))
	}
	return fmt.Sprintf("%s stays in credential %s and changes in %s", group[0].Value, members[0], strings.Join(changed, ", "))
}

// distinctSQL returns the SQL that makes the values of the columns of these fixes differ: of each group of credentials that
// share one, all but the first get their id at the end, cut to what the column takes.
func distinctSQL(fixes []Fix, s State) string {
	var updates []string
	for _, f := range slices.Backward(fixes) { // whose order is that of revert
		c := s.Table.Column(f.Column)
		if c == nil || f.Index == "" {
			continue
		}
		reverted := s.Reverted(f)
		value := reverted
		if c.Limit != 0 { // two characters less: the hyphen, and the space of the padding
			value = fmt.Sprintf("left(%s, %d - length(t.id))", reverted, c.Limit-2)
		}
		updates = append(updates, fmt.Sprintf(`UPDATE %[1]s AS t SET %[2]s = %[3]s || '-' || t.id FROM (SELECT t.id, row_number() OVER (PARTITION BY %[4]s ORDER BY t.id COLLATE "C") AS n FROM %[1]s AS t WHERE t.%[2]s IS NOT NULL) AS d WHERE d.id = t.id AND d.n > 1;`,
			s.QualifiedTable(), quote.Identifier(f.Column), value, reverted))
	}
	return strings.Join(updates, " ")
}

// Reverted returns, as SQL, what revert leaves in the column of a fix in a row t.
func (s State) Reverted(f Fix) string {
	value := "t." + quote.Identifier(f.Column)
	if f.Column == KeyColumn && s.isPadded() {
		return "pg_catalog.rtrim(" + value + ", ' ')"
	}
	return value
}
