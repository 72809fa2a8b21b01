package plan

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Selection is the value of PATCH_FIXES.
type Selection struct {
	Auto  bool  // besides Named, what one key in several instances needs
	Named []Fix // in the order of the catalogue
}

// UnmarshalText implements encoding.TextUnmarshaler. The error quotes no name, because it may be a secret.
func (s *Selection) UnmarshalText(text []byte) error {
	words := strings.Split(string(text), ",")
	for i := range words {
		words[i] = strings.TrimSpace(words[i])
		if words[i] == "auto" {
			s.Auto = true
		} else if !Contains(Fixes, words[i]) {
			return fmt.Errorf("%w; known: auto, %s", unknownFix(words[i], i+1, len(words)), strings.Join(fixNames(Fixes), ", "))
		}
	}
	for _, f := range Fixes {
		if slices.Contains(words, f.Name) {
			s.Named = append(s.Named, f)
		}
	}
	return nil
}

// unknownFix says what is wrong with one of several words in PATCH_FIXES.
func unknownFix(word string, position, of int) error {
	switch {
	case word == "" && position == of:
		return errors.New("ends with a comma")
	case word == "":
		return fmt.Errorf("has nothing before comma %d", position)
	case strings.ContainsAny(word, "; \t\n|:+"):
		return errors.New("is not separated by commas")
	case of == 1:
		return errors.New("is not a fix")
	}
	return fmt.Errorf("name %d of %d is not a fix", position, of)
}

// Complete adds the fixes without which those named are of no use, and returns their names. Putting an index back also
// requires that what needs it to be gone is reverted.
func (s *Selection) Complete(goal Goal) (added []string) {
	named := s.Named
	s.Named = nil
	for _, f := range Fixes {
		needed := slices.ContainsFunc(named, func(n Fix) bool { return n.Needs == f.Name }) || goal == Revert && Contains(named, f.Needs)
		if Contains(named, f.Name) {
			s.Named = append(s.Named, f)
		} else if needed {
			s.Named, added = append(s.Named, f), append(added, f.Name)
		}
	}
	return added
}

// MayPad reports whether fixes that concern the keys themselves may be selected.
func (s *Selection) MayPad() bool { return s.Auto || Pads(s.Named) }

// Select returns the fixes that are selected where s was found, in the order in which they are applied or reverted. With auto,
// what this program has left there counts too: the padding always, and a dropped index where nothing is dropped.
func Select(selection Selection, goal Goal, s State) []Fix {
	selected := selection.Named // shared by all schemas
	if selection.Auto {
		selected = nil
		for _, f := range Fixes {
			needed := f.From != "" && (s.Table == nil || !f.Pad || s.Migrations.Last >= f.From) && (goal != Revert || !f.Pad)
			present := f.Pad && s.isPadded() || !f.Pad && goal != Apply && s.Lacks(f)
			if Contains(selection.Named, f.Name) || needed || present {
				selected = append(selected, f)
			}
		}
	}
	if goal == Revert {
		selected = slices.Clone(selected)
		slices.Reverse(selected) // the padding is reverted before the index that it needs to be gone
	}
	return selected
}

// fixNames returns the names of fixes.
func fixNames(fixes []Fix) (names []string) {
	for _, f := range fixes {
		names = append(names, f.Name)
	}
	return names
}

// Contains reports whether a fix of that name is among fixes.
func Contains(fixes []Fix, name string) bool {
	return slices.ContainsFunc(fixes, func(f Fix) bool { return f.Name == name })
}

// Pads reports whether one of the fixes concerns the keys themselves.
func Pads(fixes []Fix) bool {
	return slices.ContainsFunc(fixes, func(f Fix) bool { return f.Pad })
}
