"""The model server: what answers requests for a registered model, by the Open Inference Protocol and plain JSON.

It runs in the environment of the job whose model it serves, so it needs Python 3.8, uvicorn and starlette, and nothing
else; numpy and the libraries of models are imported only where they are used. It knows neither client nor agent.
"""
