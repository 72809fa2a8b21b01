// Command pod decodes a Kubernetes manifest strictly, with Kubernetes' own types, and prints the pod of its Deployment in a
// form that a kubelet can run without an API server: with the Secret's values, and in the host's network. It is a module of
// its own, so that the program does not depend on Kubernetes.
//
//	pod MANIFEST NAME PATCH-IMAGE EVOLUTION-IMAGE DATABASE-URI
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"os"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	serializer "k8s.io/apimachinery/pkg/runtime/serializer/json"
	"k8s.io/apimachinery/pkg/util/yaml"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) != 6 {
		log.Fatal("usage: pod MANIFEST NAME PATCH-IMAGE EVOLUTION-IMAGE DATABASE-URI")
	}
	p, err := pod(os.Args[1], os.Args[2], map[string]string{"evolution-openai-patch": os.Args[3], "evolution": os.Args[4]}, os.Args[5])
	if err != nil {
		log.Fatal(err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(p); err != nil {
		log.Fatal(err)
	}
}

// pod returns the pod of the manifest's Deployment, with these images for its containers.
func pod(manifest, name string, images map[string]string, uri string) (*corev1.Pod, error) {
	secret, deployment, err := decode(manifest)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", manifest, err)
	}
	secret.StringData["DATABASE_CONNECTION_URI"] = uri
	p := &corev1.Pod{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default"},
		Spec:       deployment.Spec.Template.Spec,
	}
	p.Spec.HostNetwork = true
	for _, containers := range [][]corev1.Container{p.Spec.InitContainers, p.Spec.Containers} {
		for i := range containers {
			c := &containers[i]
			image, ok := images[c.Name]
			if !ok {
				return nil, fmt.Errorf("%s: container %s is unknown", manifest, c.Name)
			}
			c.Image = image
			c.Ports = nil // they would be the host's
			c.ImagePullPolicy = corev1.PullNever
			for j, e := range c.Env {
				if e.ValueFrom == nil {
					continue
				}
				ref := e.ValueFrom.SecretKeyRef
				value, ok := secret.StringData[ref.Key]
				if ref.Name != secret.Name || !ok {
					return nil, fmt.Errorf("%s: %s refers to key %q of Secret %q, which does not exist", manifest, e.Name, ref.Key, ref.Name)
				}
				c.Env[j] = corev1.EnvVar{Name: e.Name, Value: value}
			}
		}
	}
	return p, nil
}

// decode returns the objects in a manifest. It refuses fields that Kubernetes does not know.
func decode(manifest string) (secret *corev1.Secret, deployment *appsv1.Deployment, err error) {
	f, err := os.Open(manifest)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	scheme := runtime.NewScheme()
	if err := errors.Join(corev1.AddToScheme(scheme), appsv1.AddToScheme(scheme)); err != nil {
		return nil, nil, err
	}
	strict := serializer.NewSerializerWithOptions(serializer.DefaultMetaFactory, scheme, scheme, serializer.SerializerOptions{Yaml: true, Strict: true})
	for documents := yaml.NewDocumentDecoder(f); ; {
		document := make([]byte, 1<<20)
		n, err := documents.Read(document)
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, nil, err
		}
		object, _, err := strict.Decode(document[:n], nil, nil)
		if err != nil {
			return nil, nil, err
		}
		switch o := object.(type) {
		case *corev1.Secret:
			secret = o
		case *appsv1.Deployment:
			deployment = o
		}
	}
	if secret == nil || deployment == nil {
		return nil, nil, errors.New("the manifest needs a Secret and a Deployment")
	}
	return secret, deployment, nil
}
