package patch

import (
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
	if sql := separate(Fixes, padded(&padTrigger, &ownFunction, Keys{})); strings.Count(sql, "UPDATE") != 2 || !strings.Contains(sql, "PARTITION BY rtrim(") {
		t.Error(sql)
	}
	kept := ownFunction
	kept.Comment = `{"spaces":{"b":2,"a":1}}`
	if sql := separate(Fixes[:1], padded(&padTrigger, &kept, Keys{})); !strings.Contains(sql, `PARTITION BY rtrim("apiKey", ' '), CASE id WHEN 'a' THEN 1 WHEN 'b' THEN 2 END ORDER BY`) {
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
