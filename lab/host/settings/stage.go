package settings

import (
	"fmt"
	"strings"

	rolev1 "github.com/swarmlab/swarmlab/agents/api/role/v1"
)

// Stage is how far the agents build the lab up, by the tutorial's steps. Its values are those of the agents' API.
type Stage rolev1.Stage

// The stages in their order.
const (
	StageUnspecified    = Stage(rolev1.Stage_STAGE_UNSPECIFIED)
	StageInfrastructure = Stage(rolev1.Stage_STAGE_INFRASTRUCTURE)
	StageCluster        = Stage(rolev1.Stage_STAGE_CLUSTER)
	StageNetwork        = Stage(rolev1.Stage_STAGE_NETWORK)
	StageImages         = Stage(rolev1.Stage_STAGE_IMAGES)
	StageApplication    = Stage(rolev1.Stage_STAGE_APPLICATION)
)

// Stages returns all stages, lowest first.
func Stages() []Stage {
	return []Stage{StageInfrastructure, StageCluster, StageNetwork, StageImages, StageApplication}
}

// StageNames returns the stages' names, lowest first.
func StageNames() []string {
	names := make([]string, 0, len(Stages()))
	for _, s := range Stages() {
		names = append(names, s.String())
	}
	return names
}

// ParseStage reads a stage's name.
func ParseStage(name string) (Stage, error) {
	for _, s := range Stages() {
		if s.String() == name {
			return s, nil
		}
	}
	return StageUnspecified, fmt.Errorf("unknown stage %q; the stages are %s", name, strings.Join(StageNames(), ", "))
}

func (s Stage) String() string {
	if s == StageUnspecified {
		return ""
	}
	return strings.ToLower(strings.TrimPrefix(rolev1.Stage(s).String(), "STAGE_"))
}

// MarshalText writes the stage's name.
func (s Stage) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads the stage's name; the empty text is no stage.
func (s *Stage) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*s = StageUnspecified
		return nil
	}
	stage, err := ParseStage(string(text))
	*s = stage
	return err
}
