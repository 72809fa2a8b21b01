package patch

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// Of a key at most its last four characters are printed, and of a short one none.
func TestMaskKey(t *testing.T) {
	for key, want := range map[string]string{
		"": "…", "sk-1": "…", "sk-12345678 ": "…", "sk-123456789": "…", "sk-1234567890": "…7890", "sk-1234567890   ": "…7890", "ключ-ключ-ключ": "…ключ",
	} {
		if got := maskKey(key); got != want {
			t.Errorf("%q: %q, want %q", key, got, want)
		}
	}
}

// credentialOf returns a credential. A value "NULL" is NULL.
func credentialOf(id, name, key string) *credential {
	c := &credential{id: &id, name: &name, key: &key, instance: new(string)}
	if name == "NULL" {
		c.name = nil
	}
	if key == "NULL" {
		c.key = nil
	}
	return c
}

// TestDuplicates holds the refusal against the fixes whose indexes were to come back.
func TestDuplicates(t *testing.T) {
	twice := func(n int) (all []*credential) { // n keys, each in two instances
		for i := range n {
			key := fmt.Sprintf("sk-1234567890-%03d", i)
			all = append(all, credentialOf(fmt.Sprint("b", i), fmt.Sprint("n", i), key), credentialOf(fmt.Sprint("a", i), "same", key))
		}
		return all
	}
	const hint, list = "set PATCH_FIXES to the other fixes", ". The groups: "
	for title, c := range map[string]struct {
		fixes       []Fix
		auto        bool
		credentials []*credential
		hint        bool
		groups      string
	}{
		"keys":           {Fixes[:2], false, twice(1), false, "…-000 in a0 (name same, instance ), b0 (name n0, instance )"},
		"in order":       {Fixes[:1], true, slices.Concat(twice(2)[2:], twice(1)), false, "…-000 in a0 (name same, instance ), b0 (name n0, instance ); …-001 in a1 (name same, instance ), b1 (name n1, instance )"},
		"names":          {Fixes[2:], false, twice(2), false, "same in a0 (name same, instance ), a1 (name same, instance )"},
		"names, auto":    {Fixes[2:], true, twice(2), true, "same in a0 (name same, instance ), a1 (name same, instance )"},
		"both":           {Fixes, false, twice(1)[:2], false, "…-000 in a0 (name same, instance ), b0 (name n0, instance )"},
		"cannot be read": {Fixes[:1], false, nil, false, ""},
	} {
		err := duplicates(c.fixes, c.auto, table(), c.credentials)
		_, groups, listed := strings.Cut(err.reason, list)
		if groups != c.groups || listed != (c.groups != "") || strings.Contains(err.reason, hint) != c.hint || err.remedy != separate(c.fixes, table()) {
			t.Errorf("%s: %s\nremedy %s", title, err.reason, err.remedy)
		}
	}
	for n, more := range map[int]string{100: "", 101: "; and 1 groups more", 150: "; and 50 groups more"} {
		err := duplicates(Fixes[:1], false, table(), twice(n))
		if strings.Count(err.reason, "…") != 100 || !strings.HasSuffix(err.reason, more) || strings.Contains(err.reason, "groups more") != (more != "") {
			t.Errorf("%d groups: %s", n, err.reason)
		}
	}
}

// Credentials without a value share none, and each group is listed in the order of its ids.
func TestSharedValues(t *testing.T) {
	all := []*credential{
		credentialOf("c", "x", "k"), credentialOf("a", "NULL", "k"), credentialOf("d", "NULL", "NULL"), credentialOf("e", "x", "NULL"), credentialOf("b", "y", "l"),
	}
	names := shared(all, func(c *credential) *string { return c.name }, strings.Clone)
	keys := shared(all, func(c *credential) *string { return c.key }, maskKey)
	if want := []string{"x in c (name x, instance ), e (name x, instance )"}; !slices.Equal(names, want) {
		t.Errorf("%q, want %q", names, want)
	}
	if want := []string{"… in a (name , instance ), c (name x, instance )"}; !slices.Equal(keys, want) {
		t.Errorf("%q, want %q", keys, want)
	}
}

// Keys are compared as revert leaves them: without the space of the padding, with those that were there before it.
func TestRevertedKey(t *testing.T) {
	f := ownFunction
	f.Comment = `{"spaces":{"b":2}}`
	for _, c := range []struct {
		s             State
		id, key, want string
	}{
		{table(), "a", "k ", "k "},
		{padded(&padTrigger, &ownFunction, Keys{}), "a", "k ", "k"},
		{padded(&padTrigger, &ownFunction, Keys{}), "b", "k", "k"},
		{padded(&padTrigger, &f, Keys{}), "b", "k ", "k  "},
		{padded(nil, &f, Keys{}), "a", "k ", "k"},
	} {
		if got := *revertedKey(c.s)(credentialOf(c.id, "", c.key)); got != c.want {
			t.Errorf("%s: %q becomes %q, want %q", c.id, c.key, got, c.want)
		}
	}
	if revertedKey(padded(&padTrigger, &ownFunction, Keys{}))(credentialOf("a", "", "NULL")) != nil {
		t.Error("NULL becomes a key")
	}
}

// The remedy changes only the columns whose index is to come back.
func TestSeparate(t *testing.T) {
	s := table()
	if sql := separate(Fixes[2:3], s); strings.Contains(sql, "apiKey") || !strings.Contains(sql, `left(t."name", 253 - length(t.id))`) {
		t.Error(sql)
	}
	if sql := separate(Fixes[:1], s); strings.Contains(sql, `"name"`) || strings.Contains(sql, "rtrim") {
		t.Error(sql)
	}
	if sql := separate(Fixes, padded(&padTrigger, &ownFunction, Keys{})); strings.Count(sql, "UPDATE") != 2 || strings.Contains(sql, `rtrim("name"`) || strings.Contains(sql, `rtrim(t."name"`) || !strings.Contains(sql, `PARTITION BY rtrim("apiKey", ' ') ORDER BY`) {
		t.Error(sql)
	}
	kept := ownFunction
	kept.Comment = `{"spaces":{"b":2,"a":1}}`
	if sql := separate(Fixes[:1], padded(&padTrigger, &kept, Keys{})); !strings.Contains(sql, `PARTITION BY rtrim("apiKey", ' '), CASE id WHEN 'a' THEN 1 WHEN 'b' THEN 2 END ORDER BY`) {
		t.Error(sql)
	}
	kept.Comment = `{"spaces":{"b":2}}`
	if sql := separate(Fixes[:1], padded(&padTrigger, &kept, Keys{})); !strings.Contains(sql, "CASE id WHEN 'b' THEN 2 END") {
		t.Error(sql)
	}
	s.Table.column("apiKey").Limit = 0
	if sql := separate(Fixes[:1], s); strings.Contains(sql, "left(") {
		t.Error(sql)
	}
	s.Table.Columns = s.Table.Columns[:2]
	if sql := separate(Fixes, s); strings.Contains(sql, "apiKey") || strings.Count(sql, "UPDATE") != 1 {
		t.Error(sql)
	}
}
