"""Services: asked for, listed, changed, and reached from here.

What a service is stands with its host (``remote_agent.protocol.services``); here is what a person does with it.
"""
