"""slipstream"""
