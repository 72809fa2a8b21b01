// Command pod decodes a Kubernetes manifest strictly, with Kubernetes' own types, and prints the pod of its object of one kind
// in a form that a kubelet can run without an API server: with the Secret's values, with an empty folder for each claim to a
// volume, and in the host's network. It is a module of its own, so that the program does not depend on Kubernetes.
//
//	pod MANIFEST KIND NAME PATCH-IMAGE EVOLUTION-IMAGE SECRET
//
// KIND is Deployment, Job or CronJob. SECRET is a folder that has the name of the Secret and a file for each of its keys. The
// manifest may hold the Secret, too; the files replace its values. It must hold every claim that the pod names.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	serializer "k8s.io/apimachinery/pkg/runtime/serializer/json"
	"k8s.io/apimachinery/pkg/util/yaml"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) != 7 {
		log.Fatal("usage: pod MANIFEST KIND NAME PATCH-IMAGE EVOLUTION-IMAGE SECRET")
	}
	p, err := pod(os.Args[1], os.Args[2], os.Args[3], map[string]string{"evolution-openai-patch": os.Args[4], "evolution": os.Args[5]}, os.Args[6])
	if err != nil {
		log.Fatalf("%s: %v", os.Args[1], err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(p); err != nil {
		log.Fatal(err)
	}
}

// pod returns the pod of the manifest's object of a kind, with these images for its containers.
func pod(manifest, kind, name string, images map[string]string, folder string) (*corev1.Pod, error) {
	m, err := decode(manifest, filepath.Base(folder))
	if err != nil {
		return nil, err
	}
	template, ok := m.templates[kind]
	if !ok {
		return nil, fmt.Errorf("it has no %s", kind)
	}
	files, err := os.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		value, err := os.ReadFile(filepath.Join(folder, f.Name()))
		if err != nil {
			return nil, err
		}
		m.values[f.Name()] = string(value)
	}
	p := &corev1.Pod{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default"},
		Spec:       template.Spec,
	}
	p.Spec.HostNetwork = true
	for _, containers := range [][]corev1.Container{p.Spec.InitContainers, p.Spec.Containers} {
		for i := range containers {
			c := &containers[i]
			if c.Image, ok = images[c.Name]; !ok {
				return nil, fmt.Errorf("container %s is unknown", c.Name)
			}
			c.Ports = nil // they would be the host's
			c.ImagePullPolicy = corev1.PullNever
			if err := setVariables(c, filepath.Base(folder), m.values); err != nil {
				return nil, err
			}
		}
	}
	return p, mountFolder(p.Spec.Volumes, folder, m.claims)
}

// setVariables puts the values of the Secret in the place of references to its keys.
func setVariables(c *corev1.Container, secret string, values map[string]string) error {
	for i, e := range c.Env {
		if e.ValueFrom == nil {
			continue
		}
		ref := e.ValueFrom.SecretKeyRef
		value, ok := values[ref.Key]
		if ref.Name != secret || !ok {
			return fmt.Errorf("%s refers to key %q of Secret %q, which does not exist", e.Name, ref.Key, ref.Name)
		}
		c.Env[i] = corev1.EnvVar{Name: e.Name, Value: value}
	}
	return nil
}

// mountFolder puts the folder in the place of the Secret, and an empty one in that of each claim. The folder's files have the
// names of the keys.
func mountFolder(volumes []corev1.Volume, folder string, claims []string) error {
	for i, v := range volumes {
		if v.PersistentVolumeClaim != nil && slices.Contains(claims, v.PersistentVolumeClaim.ClaimName) {
			volumes[i].VolumeSource = corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}
			continue
		}
		if v.Secret == nil || v.Secret.SecretName != filepath.Base(folder) {
			return fmt.Errorf("volume %s is not of Secret %q", v.Name, filepath.Base(folder))
		}
		for _, item := range v.Secret.Items {
			if _, err := os.Stat(filepath.Join(folder, item.Path)); err != nil || item.Path != item.Key {
				return fmt.Errorf("volume %s has key %q as %q, which does not exist or is not its own name", v.Name, item.Key, item.Path)
			}
		}
		volumes[i].VolumeSource = corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: folder}}
	}
	return nil
}

// objects are what a manifest holds: the templates of the pods by the kinds of their objects, the values of the Secret, and the
// names of the claims to volumes.
type objects struct {
	templates map[string]corev1.PodTemplateSpec
	values    map[string]string
	claims    []string
}

// decode reads a manifest, whose Secret must have this name. It refuses fields that Kubernetes does not know.
func decode(manifest, secret string) (*objects, error) {
	f, err := os.Open(manifest)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	scheme := runtime.NewScheme()
	if err := errors.Join(corev1.AddToScheme(scheme), appsv1.AddToScheme(scheme), batchv1.AddToScheme(scheme)); err != nil {
		return nil, err
	}
	strict := serializer.NewSerializerWithOptions(serializer.DefaultMetaFactory, scheme, scheme, serializer.SerializerOptions{Yaml: true, Strict: true})
	m := &objects{templates: map[string]corev1.PodTemplateSpec{}, values: map[string]string{}}
	for documents := yaml.NewDocumentDecoder(f); ; {
		document := make([]byte, 1<<20)
		n, err := documents.Read(document)
		if err == io.EOF {
			return m, nil
		}
		if err != nil {
			return nil, err
		}
		object, _, err := strict.Decode(document[:n], nil, nil)
		if err != nil {
			return nil, err
		}
		switch o := object.(type) {
		case *corev1.Secret:
			if o.Name != secret {
				return nil, fmt.Errorf("its Secret is %q, not %q", o.Name, secret)
			}
			m.values = o.StringData
		case *corev1.PersistentVolumeClaim:
			m.claims = append(m.claims, o.Name)
		case *appsv1.Deployment:
			m.templates["Deployment"] = o.Spec.Template
		case *batchv1.Job:
			m.templates["Job"] = o.Spec.Template
		case *batchv1.CronJob:
			m.templates["CronJob"] = o.Spec.JobTemplate.Spec.Template
		}
	}
}
