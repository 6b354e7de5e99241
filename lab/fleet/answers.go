package fleet

import "context"

// Answers asks the agent of one node whether it is there. An *Error says why it is not.
func (f *Fleet) Answers(ctx context.Context, node string) error {
	m, err := f.member(node)
	if err != nil {
		return err
	}
	if _, problem := m.snapshot(ctx); problem != nil {
		return problem
	}
	return nil
}
