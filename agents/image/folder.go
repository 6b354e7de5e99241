package image

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

type hashEntry struct {
	// signature over names, sizes and times: as long as it stays, the content was not touched.
	signature string
	hash      string
}

// Hash returns the hash of a folder below the app folder: of names, executable bits and contents, nothing else. It
// reads the files only when one of them was touched since the last time.
func (s *Source) Hash(folder string) (string, error) {
	root := filepath.Join(s.app, folder)
	signature, err := digestOf(root, func(w io.Writer, path string, info fs.FileInfo) error {
		_, err := fmt.Fprintf(w, "%q %v %d %d\n", path, info.Mode(), info.Size(), info.ModTime().UnixNano())
		return err
	})
	if err != nil {
		return "", err
	}
	s.mu.Lock()
	known, ok := s.hashed[folder]
	s.mu.Unlock()
	if ok && known.signature == signature {
		return known.hash, nil
	}
	hash, err := digestOf(root, func(w io.Writer, path string, info fs.FileInfo) error {
		if _, err := fmt.Fprintf(w, "%q %t %d\n", path, info.Mode()&0o111 != 0, info.Size()); err != nil {
			return err
		}
		return copyFile(w, filepath.Join(root, path))
	})
	if err != nil {
		return "", err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hashed[folder] = hashEntry{signature: signature, hash: hash}
	return hash, nil
}

// digestOf hashes what each writes for every regular file below root, in lexical order.
func digestOf(root string, each func(w io.Writer, path string, info fs.FileInfo) error) (string, error) {
	sum := sha256.New()
	err := walk(root, func(path string, info fs.FileInfo) error { return each(sum, path, info) })
	if err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)[:8]), nil
}

func walk(root string, each func(path string, info fs.FileInfo) error) error {
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		return each(filepath.ToSlash(relative), info)
	})
	if err != nil {
		return fmt.Errorf("read the build folder %s: %w", root, err)
	}
	return nil
}

// pack writes the folder as a tar stream in which times and owners play no role, so that equal content hits the
// builder's cache.
func pack(root string, out io.Writer) error {
	archive := tar.NewWriter(out)
	err := walk(root, func(path string, info fs.FileInfo) error {
		mode := int64(0o644)
		if info.Mode()&0o111 != 0 {
			mode = 0o755
		}
		header := &tar.Header{Typeflag: tar.TypeReg, Name: path, Mode: mode, Size: info.Size(), Format: tar.FormatPAX}
		if err := archive.WriteHeader(header); err != nil {
			return err
		}
		return copyFile(archive, filepath.Join(root, path))
	})
	if err != nil {
		return err
	}
	return archive.Close()
}

func copyFile(w io.Writer, path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	_, err = io.Copy(w, file)
	return err
}
