package plan

import (
	"fmt"
	"strings"
	"testing"
)

// sharing returns the credentials that share n values of a column, as they are read: two of each value.
func sharing(column string, n int) (all []Credential) {
	for i := range min(n, MaxGroups) {
		one := Credential{ID: fmt.Sprint("a", i), Name: "same", Value: fmt.Sprintf("…-%03d", i), Column: column, Group: i + 1, Size: 2, Groups: n}
		other := one
		other.ID, other.Name, other.Instance = fmt.Sprint("b", i), fmt.Sprint("n", i), "i"
		all = append(all, one, other)
	}
	return all
}

// TestDuplicates holds the refusal against the fixes whose indexes were to come back.
func TestDuplicates(t *testing.T) {
	const hint, list = "set PATCH_FIXES to the other fixes", ". The groups: "
	for title, c := range map[string]struct {
		fixes       []Fix
		auto        bool
		credentials []Credential
		hint        bool
		groups      string
	}{
		"keys":           {Fixes[:2], false, sharing("apiKey", 1), false, "…-000 stays in credential a0 (same) of instance  and changes in b0 (n0) of instance i"},
		"two keys":       {Fixes[:1], true, sharing("apiKey", 2), false, "…-000 stays in credential a0 (same) of instance  and changes in b0 (n0) of instance i; …-001 stays in credential a1 (same) of instance  and changes in b1 (n1) of instance i"},
		"names":          {Fixes[2:], false, sharing("name", 1), false, "…-000 stays in credential a0 (same) of instance  and changes in b0 (n0) of instance i"},
		"names, auto":    {Fixes[2:], true, sharing("name", 1), true, "…-000 stays in credential a0 (same) of instance  and changes in b0 (n0) of instance i"},
		"both":           {Fixes, false, append(sharing("apiKey", 1), sharing("name", 1)...), false, "…-000 stays in credential a0 (same) of instance  and changes in b0 (n0) of instance i; …-000 stays in credential a0 (same) of instance  and changes in b0 (n0) of instance i"},
		"cannot be read": {Fixes[:1], false, nil, false, ""},
	} {
		err := Duplicates(c.fixes, c.auto, table(), c.credentials)
		_, groups, listed := strings.Cut(err.Reason, list)
		if groups != c.groups || listed != (c.groups != "") || strings.Contains(err.Reason, hint) != c.hint || err.Remedy != distinctSQL(c.fixes, table()) {
			t.Errorf("%s: %s\nremedy %s", title, err.Reason, err.Remedy)
		}
	}
}

// However many groups and members there are, the list is short, and says how many are left out.
func TestDuplicatesListIsShort(t *testing.T) {
	for n, more := range map[int]string{20: "", 150: fmt.Sprintf("and %d groups more", 150-23), 100_000: fmt.Sprintf("and %d groups more", 100_000-23)} {
		groups := listGroups(sharing("apiKey", n))
		if last := groups[len(groups)-1]; more != "" && last != more || more == "" && len(groups) != n {
			t.Errorf("%d groups: %d are listed, the last is %s", n, len(groups), last)
		}
	}
	group := sharing("name", 1)[:1]
	group[0].Size = 100_000
	if got, want := listGroups(group)[0], "…-000 stays in credential a0 (same) of instance  and changes in 99999 more"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	long := Credential{ID: "a", Name: strings.Repeat("n", 100), Value: "v", Column: "name", Group: 1, Size: 50}
	list := make([]Credential, 50)
	for i := range list {
		list[i] = long
	}
	if got := listGroups(list)[0]; len(got) > maxListed+200 || !strings.HasSuffix(got, " more") {
		t.Errorf("%d bytes: %s", len(got), got)
	}
}

// The remedy changes only the columns whose index is to come back.
func TestDistinctSQL(t *testing.T) {
	s := table()
	if sql := distinctSQL(Fixes[2:3], s); strings.Contains(sql, "apiKey") || !strings.Contains(sql, `left(t."name", 253 - length(t.id))`) {
		t.Error(sql)
	}
	if sql := distinctSQL(Fixes[:1], s); strings.Contains(sql, `"name"`) || strings.Contains(sql, "rtrim") {
		t.Error(sql)
	}
	if sql := distinctSQL(Fixes, padded(&padTrigger, &ownFunction, Keys{})); strings.Count(sql, "UPDATE") != 2 || strings.Contains(sql, `rtrim(t."name"`) || strings.Count(sql, `pg_catalog.rtrim(t."apiKey", ' ')`) != 2 {
		t.Error(sql)
	}
	s.Table.Column("apiKey").Limit = 0
	if sql := distinctSQL(Fixes[:1], s); strings.Contains(sql, "left(") {
		t.Error(sql)
	}
	s.Table.Columns = s.Table.Columns[:2]
	if sql := distinctSQL(Fixes, s); strings.Contains(sql, "apiKey") || strings.Count(sql, "UPDATE") != 1 {
		t.Error(sql)
	}
}
