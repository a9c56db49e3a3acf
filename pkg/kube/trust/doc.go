// Package trust keeps the certificates of the injecting webhook in a Secret, and tells
// the API server whom to trust by the caBundle of its MutatingWebhookConfiguration.
//
// It is a webhook.Store: a Secret is replaced on the condition of its resourceVersion,
// so of several replicas one wins. It needs get and update of these two objects, by name,
// and nothing else; the chart makes them, empty.
package trust
