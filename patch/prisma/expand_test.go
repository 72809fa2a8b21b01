package prisma

import (
	"strings"
	"testing"
)

// ${NAME} is replaced once, by a value that may hold what is special in a URL; anything that only looks like it stays.
func TestExpand(t *testing.T) {
	variables := map[string]string{"USER": "u", "PASS": "p@$USER${USER}$(USER)", "_A1": "a", "EMPTY": ""}
	for text, want := range map[string]string{
		"postgresql://${USER}:${PASS}@h/${_A1}?schema=${USER}_${_A1}": "postgresql://u:p@$USER${USER}$(USER)@h/a?schema=u_a",
		`postgresql://u:\${USER}${USER}\\${USER}@h`:                   `postgresql://u:${USER}u\${USER}@h`,
		"${EMPTY}$USER $${USER} $(USER) ${} ${1} ${USER ${USER:-x}":   "$USER $u $(USER) ${} ${1} ${USER ${USER:-x}",
		"": "",
	} {
		if got, err := Expand(text, variables); err != nil || got != want {
			t.Errorf("%s: %v\n got %s\nwant %s", text, err, got, want)
		}
	}
}

// A variable that is not set is named, and nothing else of the string.
func TestExpandUnset(t *testing.T) {
	got, err := Expand("postgresql://${USER}:Secret${PASS}@h/${Db}?schema=${USER}", map[string]string{"PASS": "Secret"})
	if got != "" || err == nil || !strings.Contains(err.Error(), "${USER}, ${Db}") || strings.Contains(err.Error(), "Secret") {
		t.Errorf("%q, %v", got, err)
	}
}

// $(NAME) is an error wherever it stands outside the password, where it is a part of it like any other.
func TestUnreplaced(t *testing.T) {
	for _, uri := range []string{
		"$(URI)", "postgresql://$(URI):$(P)@h/d", "postgresql://u:$(P)@$(URI):5432/d", "postgresql://u:p@h:$(URI)/d", "postgresql://u:p@h/$(URI)",
		"postgresql://u:p@h/d?schema=$(URI)", "postgresql://u:p@h/d?schema=s&sslcert=/$(URI)/ca", "postgresql://u@$(URI)", "postgresql://$(URI)/d", "postgresql://a@b:p@h/$(URI)",
		"$(URI)://u:p@h/d", "postgresql://$(URI)@h:5432/d", "postgresql://u:$(P)@$(P)@h/d$(URI)",
	} {
		if _, _, err := Parse(uri); err == nil || !strings.Contains(err.Error(), "$(URI)") || strings.Contains(err.Error(), "$(P)") {
			t.Errorf("%s: %v", uri, err)
		}
	}
	for uri, password := range map[string]string{
		"postgresql://u:$(P)@h:5432/d": "$(P)", "postgresql://a@b:$(P)@x@h/d": "$(P)@x", "postgresql://u:p@h/$()$(1)$(a": "p", "postgresql://u:a:$(P):@h": "a:$(P):",
	} {
		if c, _, err := Parse(uri); err != nil || c.Password != password {
			t.Errorf("%s: %v, password %q", uri, err, c.Password)
		}
	}
}
